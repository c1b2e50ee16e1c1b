"""Cache-Status, read."""


def status_of(response):
    """Our member of Cache-Status as a dict; a parameter without value is True."""
    member = response.get("cache-status").split(", ")[-1]
    name, *parameters = member.split("; ")
    assert name == "outrigger", member
    return {key: value or True for key, _, value in (p.partition("=") for p in parameters)}
