"""The operator's verbs on clients and users: `async with open_store(url) as store: await add_client(store, …)`.

Everything that comes in is checked; what is wrong is a `UsageError`. Secrets are made here, shown once, and kept as
hashes. Those on what users sign in with and on grants are in admin_factors.py and admin_grants.py.
"""

from garrison.authserver.admin_clients import (
    NewClient,
    add_client,
    disable_client,
    list_clients,
    remove_client,
    rotate_client_secret,
    show_client,
)
from garrison.authserver.admin_users import (
    NewUser,
    add_user,
    disable_user,
    list_users,
    remove_user,
    set_password,
    set_user_scope,
    show_identity,
    show_user,
)
from garrison.authserver.stores.store import open_store

__all__ = [
    "NewClient",
    "NewUser",
    "add_client",
    "add_user",
    "disable_client",
    "disable_user",
    "list_clients",
    "list_users",
    "open_store",
    "remove_client",
    "remove_user",
    "rotate_client_secret",
    "set_password",
    "set_user_scope",
    "show_client",
    "show_identity",
    "show_user",
]
