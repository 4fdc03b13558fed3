"""Whether a broker keeps to the rules of `protocol/conformance.md`, as far as one sees outside.

`python -m intendant.broker.conformance --endpoint URI` checks any broker of Majordomo 0.2 that lets
anybody offer a service. Each rule has services and sockets of its own, so all are tried at once.
"""
