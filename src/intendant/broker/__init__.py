"""The bus: Majordomo 0.2 over ZeroMQ, its broker, its workers and its clients."""
