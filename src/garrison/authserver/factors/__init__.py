"""What users sign in with beside their passwords: codes by an app, recovery codes, passkeys."""
