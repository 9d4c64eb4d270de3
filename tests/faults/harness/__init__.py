"""What the promises are tested with: processes, services, a client, a proxy, a report."""
