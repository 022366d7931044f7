"""The only reader of garrison.toml and the environment. The environment beats the file, the command line beats both."""
