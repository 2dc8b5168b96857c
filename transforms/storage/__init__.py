"""The store behind the commit protocol, and the protocol itself."""
