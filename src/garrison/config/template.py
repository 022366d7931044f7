"""The garrison.toml that a new state folder gets: every setting, commented out, with its default."""

TEMPLATE = """\
# Settings of this installation; the environment beats this file. Without a line the default in the comment holds.

[limits]
# requests_per_minute = 60       # per caller (RATE_LIMIT_REQUESTS_PER_MINUTE)
# tokens_per_hour = 100000       # AI tokens per caller (RATE_LIMIT_TOKENS_PER_HOUR)
# client_requests_per_minute = 0 # all callers of one client together; 0 is no limit
# stranger_requests_per_minute = 120  # failed before they said who they are, per address
# concurrent_calls = 64          # per caller, in each process
# open_streams = 16              # per caller, in each process
# token_counter = "estimate"     # "words" is within a tenth of a real tokenizer, and 30 times as slow
# redis_url = ""                 # share budgets between processes: redis://host:6379/0 (REDIS_URL),
#                                # redis+sentinel://host:port,host:port/service or redis+cluster://host:port,host:port
# on_store_failure = "local"     # when Redis is down: "local" counts per process, "refuse" refuses
# Calls a minute of one tool, per caller, in a table of their own below this one: [limits.tools] get_customer_info=30

[network]
# max_connections = 1000         # to one server at once; those beyond get 503
# body_seconds = 120             # that a request may take to arrive
# trusted_proxies = []           # proxies whose X-Forwarded-For or Forwarded is believed: ["10.0.0.1", "10.1.0.0/16"]

[auth]
# access_token_lifetime = 900    # seconds
# client_documents = true        # clients known by the URL of a metadata document about them (CIMD)
# client_document_hosts = []     # the hosts that such URLs may have, "*.example.com" for all below one; [] is any
# registration = false           # clients may register themselves (needs OAUTH_REGISTRATION_TOKEN if that is set)
# registrations_per_address = 20 # before back-off begins
# unproven_scope = ""            # all that clients that nobody vouches for may get; "" is whatever there is
# database_url = ""              # share it between replicas: postgresql://user@host/name (GARRISON_DATABASE_URL)

# Users sign in at an OpenID Connect provider (docs/authorization-server.md). Whom no rule names may not.
# [auth.identity_provider]
# issuer = "https://login.example.com"
# client_id = "garrison"
# client_secret_file = "identity-provider.secret"  # beside this file, or GARRISON_IDENTITY_PROVIDER_SECRET
# username_claim = ""            # "preferred_username" names users readably
# local_users = false            # may users with a password here sign in too?
# [[auth.identity_provider.allow]]
# scope = "customer:read ticket:create"
# claims = { groups = ["support"] }  # all of these; email_domains = ["example.com"]; or everyone = true

[events]
# durability = "process"         # what a stored event survives: the end of the "process", or a "power" cut too (slower)

# Who may do what; what isn't named is denied. `garrison policy check` lists it, `garrison policy explain` tries it.
# [policy.tools.get_customer_info]
# scopes = ["customer:read"]     # all of these; [] for any valid token
# subjects = ["alex"]            # further conditions: subjects, clients, issuers, arguments
# arguments = { region = ["eu"], amount = { at_most = 100 } }
# [policy.resources."users://{id}/profile"]
# scopes = ["customer:read"]
# [policy.hierarchy]
# "admin:all" = ["customer:read"]
"""
