"""What the authorization server remembers, behind atomic verbs."""
