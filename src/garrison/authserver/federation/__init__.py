"""Sign-in through an external OpenID Connect provider, instead of local users or beside them."""
