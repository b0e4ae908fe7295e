"""The life of a credential: what the commands of operators do to its document, step by step.

Each step leaves the tenant with a working credential, and a command that was interrupted can be run again. Workflows
use ports alone; `app.bootstrap.credential_tools` assembles what they need.
"""
