"""The tools, resources and prompts that the official conformance suite asks for, each by its own words."""

import json
from base64 import b64decode
from collections.abc import Callable, Mapping
from typing import Annotated, Any

import anyio
from mcp import MCPError
from mcp.server.mcpserver import Context
from mcp.server.mcpserver.prompts.base import UserMessage
from mcp_types import (
    MISSING_REQUIRED_CLIENT_CAPABILITY,
    AudioContent,
    CallToolResult,
    CreateMessageRequest,
    CreateMessageRequestParams,
    ElicitRequest,
    ElicitRequestFormParams,
    EmbeddedResource,
    ImageContent,
    InputRequest,
    InputRequiredResult,
    ListRootsRequest,
    SamplingMessage,
    TextContent,
    TextResourceContents,
)
from pydantic import BaseModel, Field

PNG = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mP8z8DwHwAFBQIAX8jx0gAAAABJRU5ErkJggg=="
WAV = "UklGRiYAAABXQVZFZm10IBAAAAABAAEAQB8AAAB9AAACABAAZGF0YQIAAAA="
TOOLS: list[Callable[..., Any]] = []
RESOURCES: dict[str, tuple[str, Callable[..., Any]]] = {}
PROMPTS: list[Callable[..., Any]] = []


def tool(function: Callable[..., Any]) -> Callable[..., Any]:
    TOOLS.append(function)
    return function


def prompt(function: Callable[..., Any]) -> Callable[..., Any]:
    PROMPTS.append(function)
    return function


def resource(uri: str, mime_type: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    def kept(function: Callable[..., Any]) -> Callable[..., Any]:
        RESOURCES[uri] = (mime_type, function)
        return function

    return kept


def image() -> ImageContent:
    return ImageContent(data=PNG, mime_type="image/png")


def embedded(uri: str, text: str, mime_type: str = "text/plain") -> EmbeddedResource:
    return EmbeddedResource(resource=TextResourceContents(uri=uri, text=text, mime_type=mime_type))


@tool
def test_simple_text() -> str:
    """Simple text."""
    return "This is a simple text response for testing."


@tool
def test_image_content() -> ImageContent:
    """An image."""
    return image()


@tool
def test_audio_content() -> AudioContent:
    """A sound."""
    return AudioContent(data=WAV, mime_type="audio/wav")


@tool
def test_embedded_resource() -> EmbeddedResource:
    """A resource in the result."""
    return embedded("test://embedded-resource", "This is an embedded resource content.")


@tool
def test_multiple_content_types() -> list[TextContent | ImageContent | EmbeddedResource]:
    """Text, image and resource."""
    document = json.dumps({"test": "data", "value": 123})
    return [
        TextContent(text="Multiple content types test:"),
        image(),
        embedded("test://mixed-content-resource", document, "application/json"),
    ]


@tool
async def test_tool_with_logging(context: Context) -> str:
    """Logs three times."""
    for number, line in enumerate(("Tool execution started", "Tool processing data", "Tool execution completed")):
        if number:
            await anyio.sleep(0.05)
        await context.info(line)
    return "logged"


@tool
async def test_logging_tool(context: Context) -> str:
    """Logs once, to whom asked for logs."""
    await context.info("logged")
    return "logged"


@tool
def test_error_handling() -> str:
    """Fails."""
    raise ValueError("This tool intentionally returns an error for testing")


@tool
async def test_tool_with_progress(context: Context) -> str:
    """Tells its progress."""
    for number, progress in enumerate((0, 50, 100)):
        if number:
            await anyio.sleep(0.05)
        await context.report_progress(progress, 100)
    return "done"


@tool
async def test_sampling(prompt: str, context: Context) -> str:
    """Asks the client's model."""
    message = SamplingMessage(role="user", content=TextContent(text=prompt))
    answer = await context.session.create_message([message], max_tokens=100)
    return f"LLM response: {answer.content.text if isinstance(answer.content, TextContent) else answer.content}"


@tool
def greet(name: str) -> str:
    """Greets."""
    return f"Hello, {name}!"


@tool
def slow_compute(seconds: float, label: str) -> str:
    """Computes, but never as a task: there are none here."""
    return f"{label} in {seconds} s"


@tool
def confirm_delete(filename: str) -> str:
    """Deletes nothing."""
    return f"{filename} is still there"


@tool
def test_mirrored_parameter(region: Annotated[str, Field(json_schema_extra={"x-mcp-header": "Region"})]) -> str:
    """Has a parameter that clients say in a header too (SEP-2243)."""
    return region


@tool
async def test_reconnection(context: Context) -> str:
    """Ends its stream before it has answered, so that the client must come back for the rest."""
    await context.close_sse_stream()
    await anyio.sleep(0.2)
    return "back again"


class Contact(BaseModel):
    username: str = Field(description="User's response")
    email: str = Field(description="User's email address")


class Defaults(BaseModel):
    name: str = Field(default="John Doe")
    age: int = Field(default=30)
    score: float = Field(default=95.5)
    status: str = Field(default="active", json_schema_extra={"enum": ["active", "inactive", "pending"]})
    verified: bool = Field(default=True)


def one_of(*titles: str) -> list[dict[str, str]]:
    return [{"const": f"value{number}", "title": title} for number, title in enumerate(titles, 1)]


OPTIONS = ["option1", "option2", "option3"]
ENUMS: dict[str, Any] = {
    "type": "object",
    "properties": {
        "untitledSingle": {"type": "string", "enum": OPTIONS},
        "titledSingle": {"type": "string", "oneOf": one_of("First Option", "Second Option", "Third Option")},
        "legacyEnum": {
            "type": "string",
            "enum": ["opt1", "opt2", "opt3"],
            "enumNames": ["Option One", "Option Two", "Option Three"],
        },
        "untitledMulti": {"type": "array", "items": {"type": "string", "enum": OPTIONS}},
        "titledMulti": {"type": "array", "items": {"anyOf": one_of("First Choice", "Second Choice", "Third Choice")}},
    },
}


async def elicited(context: Context, message: str, schema: dict[str, Any]) -> str:
    answer = await context.session.elicit_form(message, schema)
    return f"action={answer.action}, content={json.dumps(answer.content)}"


@tool
async def test_elicitation(message: str, context: Context) -> str:
    """Asks the user."""
    return f"User response: {await elicited(context, message, Contact.model_json_schema())}"


@tool
async def test_elicitation_sep1034_defaults(context: Context) -> str:
    """Asks the user, with defaults."""
    return f"Elicitation completed: {await elicited(context, 'Who?', Defaults.model_json_schema())}"


@tool
async def test_elicitation_sep1330_enums(context: Context) -> str:
    """Asks the user to choose."""
    return f"Elicitation completed: {await elicited(context, 'Which?', ENUMS)}"


def form(message: str, name: str, kind: str = "string") -> ElicitRequest:
    schema = {"type": "object", "properties": {name: {"type": kind}}, "required": [name]}
    return ElicitRequest(params=ElicitRequestFormParams(message=message, requested_schema=schema))


def sample(text: str, max_tokens: int) -> CreateMessageRequest:
    message = SamplingMessage(role="user", content=TextContent(text=text))
    return CreateMessageRequest(params=CreateMessageRequestParams(messages=[message], max_tokens=max_tokens))


def answers(context: Context, wanted: Mapping[str, InputRequest]) -> dict[str, dict[str, Any]] | None:
    """What the client answered to `wanted`; None while an answer is missing."""
    given = context.input_responses or {}
    if not wanted.keys() <= given.keys():
        return None
    return {name: given[name].model_dump() for name in wanted}


def asking(wanted: Mapping[str, InputRequest], state: str | None = None) -> InputRequiredResult:
    return InputRequiredResult(input_requests=dict(wanted), request_state=state)


def complete(text: str) -> CallToolResult:
    return CallToolResult(content=[TextContent(text=text)])


NAME: dict[str, InputRequest] = {"user_name": form("What is your name?", "name")}


def greeted(context: Context) -> CallToolResult | InputRequiredResult:
    found = answers(context, NAME)
    name = found and (found["user_name"].get("content") or {}).get("name")
    return complete(f"Hello, {name}!") if isinstance(name, str) else asking(NAME)


@tool
def test_input_required_result_elicitation(context: Context) -> CallToolResult | InputRequiredResult:
    """Asks for a name."""
    return greeted(context)


@tool
def test_streaming_elicitation(context: Context) -> CallToolResult | InputRequiredResult:
    """Asks for a name, and for nothing on the way."""
    return greeted(context)


@tool
def test_input_required_result_sampling(context: Context) -> CallToolResult | InputRequiredResult:
    """Asks a model."""
    wanted = {"capital_question": sample("What is the capital of France?", 100)}
    found = answers(context, wanted)
    return complete(json.dumps(found)) if found else asking(wanted)


@tool
def test_input_required_result_list_roots(context: Context) -> CallToolResult | InputRequiredResult:
    """Asks for the client's roots."""
    wanted = {"client_roots": ListRootsRequest()}
    found = answers(context, wanted)
    return complete(f"roots: {found['client_roots']['roots']}") if found else asking(wanted)


def confirmed(context: Context) -> CallToolResult | InputRequiredResult:
    wanted = {"confirm": form("Please confirm", "ok", "boolean")}
    if context.request_state is None or not answers(context, wanted):
        return asking(wanted, "confirming")
    return complete("state-ok")


@tool
def test_input_required_result_request_state(context: Context) -> CallToolResult | InputRequiredResult:
    """Keeps state with the client."""
    return confirmed(context)


@tool
def test_input_required_result_tampered_state(context: Context) -> CallToolResult | InputRequiredResult:
    """Keeps state with the client, sealed by the SDK."""
    return confirmed(context)


@tool
def test_input_required_result_multiple_inputs(context: Context) -> CallToolResult | InputRequiredResult:
    """Asks three things at once."""
    wanted: dict[str, InputRequest] = {
        **NAME,
        "greeting": sample("Generate a greeting", 50),
        "client_roots": ListRootsRequest(),
    }
    found = answers(context, wanted)
    return complete(json.dumps(found, default=str)) if found else asking(wanted, "three")


@tool
def test_input_required_result_multi_round(context: Context) -> CallToolResult | InputRequiredResult:
    """Asks twice."""
    first = {"step1": form("Step 1: What is your name?", "name")}
    second = {"step2": form("Step 2: What is your favorite color?", "color")}
    if context.request_state == "round 2" and answers(context, second):
        return complete("both answered")
    if context.request_state == "round 1" and answers(context, first):
        return asking(second, "round 2")
    return asking(first, "round 1")


@tool
def test_input_required_result_capabilities(context: Context) -> CallToolResult | InputRequiredResult:
    """Asks only what the client can answer."""
    able = context.client_capabilities
    wanted: dict[str, InputRequest] = {}
    if able and able.sampling is not None:
        wanted["greeting"] = sample("Generate a greeting", 50)
    if able and able.elicitation is not None:
        wanted |= NAME
    return asking(wanted) if wanted and not answers(context, wanted) else complete("nothing to ask")


@tool
def test_missing_capability(context: Context) -> str:
    """Needs a client with sampling."""
    if context.client_capabilities is None or context.client_capabilities.sampling is None:
        required: dict[str, Any] = {"requiredCapabilities": {"sampling": {}}}
        raise MCPError(MISSING_REQUIRED_CLIENT_CAPABILITY, "This needs sampling.", required)
    return "sampling is there"


@tool
async def test_trigger_tool_change(context: Context) -> str:
    """Says that the tools have changed."""
    await context.notify_tools_changed()
    return "said"


@tool
async def test_trigger_prompt_change(context: Context) -> str:
    """Says that the prompts have changed."""
    await context.notify_prompts_changed()
    return "said"


@resource("test://static-text", "text/plain")
def static_text() -> str:
    """A text."""
    return "This is the content of the static text resource."


@resource("test://static-binary", "image/png")
def static_binary() -> bytes:
    """An image."""
    return b64decode(PNG)


@resource("test://watched-resource", "text/plain")
def watched() -> str:
    """One to subscribe to."""
    return "watched"


@resource("test://template/{id}/data", "application/json")
def template(id: Annotated[str, "its name"]) -> str:  # noqa: A002 - the template's own name for it
    """One of many."""
    return json.dumps({"id": id, "templateTest": True, "data": f"Data for ID: {id}"})


def said(*contents: TextContent | ImageContent | EmbeddedResource) -> list[UserMessage]:
    return [UserMessage(content) for content in contents]


@prompt
def test_simple_prompt() -> list[UserMessage]:
    """Without arguments."""
    return said(TextContent(text="This is a simple prompt for testing."))


@prompt
def test_prompt_with_arguments(arg1: str, arg2: str) -> list[UserMessage]:
    """With two arguments."""
    return said(TextContent(text=f"Prompt with arguments: arg1='{arg1}', arg2='{arg2}'"))


@prompt
def test_prompt_with_embedded_resource(resourceUri: str) -> list[UserMessage]:  # noqa: N803 - the suite's name
    """With a resource."""
    content = embedded(resourceUri, "Embedded resource content for testing.")
    return said(content, TextContent(text="Please process the embedded resource above."))


@prompt
def test_prompt_with_image() -> list[UserMessage]:
    """With an image."""
    return said(image(), TextContent(text="Please analyze the image above."))


@prompt
def test_input_required_result_prompt(context: Context) -> list[UserMessage] | InputRequiredResult:
    """That asks back."""
    wanted = {"user_context": form("What context should the prompt use?", "context")}
    found = answers(context, wanted)
    return said(TextContent(text=json.dumps(found))) if found else asking(wanted)
