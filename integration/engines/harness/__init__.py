"""The engine suites' harness: standard library only."""
