// Passkeys (WebAuthn): takes what the page's form asks to the authenticator, and its answer into the form, which it posts.
"use strict";

(() => {
  const form = document.querySelector("form[data-passkey]");
  const button = form.querySelector("button");
  const status = form.querySelector("[role=status]");

  const bytes = (text) => Uint8Array.from(atob(text.replace(/-/g, "+").replace(/_/g, "/")), (c) => c.charCodeAt(0));
  const text = (buffer) =>
    btoa(String.fromCharCode(...new Uint8Array(buffer))).replace(/\+/g, "-").replace(/\//g, "_").replace(/=+$/, "");

  const options = () => {
    const read = JSON.parse(form.dataset.options);
    read.challenge = bytes(read.challenge);
    if (read.user) read.user.id = bytes(read.user.id);
    for (const each of [...(read.excludeCredentials ?? []), ...(read.allowCredentials ?? [])]) each.id = bytes(each.id);
    return { publicKey: read };
  };

  const answer = (credential) => {
    const response = {};
    for (const part of ["clientDataJSON", "attestationObject", "authenticatorData", "signature", "userHandle"]) {
      if (credential.response[part]) response[part] = text(credential.response[part]);
    }
    return JSON.stringify({ id: credential.id, rawId: text(credential.rawId), type: credential.type, response });
  };

  const MESSAGES = {
    NotAllowedError: "Nothing was chosen, or it took too long. Try again.",
    InvalidStateError: "This device has a passkey for this account already.",
    SecurityError: "The browser refuses passkeys at this address.",
  };

  const ask = async () => {
    button.disabled = true;
    status.textContent = "Waiting for your device …";
    try {
      form.elements.credential.value = answer(await navigator.credentials[form.dataset.passkey](options()));
      form.submit();
    } catch (error) {
      status.textContent = MESSAGES[error.name] ?? "That didn’t work. Try again.";
      button.disabled = false;
    }
  };

  if (!window.PublicKeyCredential) {
    status.textContent = "This browser knows no passkeys.";
    return;
  }
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    ask();
  });
  button.disabled = false;
  if ("now" in form.dataset) ask();
})();
