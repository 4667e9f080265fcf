//! What the user wrote (devrun.yaml, Procfile, env files) or what the repository's shape says, checked and resolved.
