"""Asks the EC2 instance metadata service what the instance is: the only look at the network, and only when a person wants it.

Source: EC2 user guide, "Use the Instance Metadata Service" (version 2: a token first, then the question).
"""

from __future__ import annotations

from urllib.request import ProxyHandler, Request, build_opener

URL = "http://169.254.169.254"
PATIENCE_S = 1.0
TOKEN_S = 60
LONGEST_ANSWER = 200


def ask_instance_type(url: str = URL) -> str:
    """`inf2.48xlarge`; empty when nobody answers within `PATIENCE_S` or the answer is not one word."""
    opener = build_opener(
        ProxyHandler({})
    )  # the address is the instance's own; a proxy would ask about itself
    lifetime = {"X-aws-ec2-metadata-token-ttl-seconds": str(TOKEN_S)}
    try:
        with opener.open(
            Request(f"{url}/latest/api/token", method="PUT", headers=lifetime), timeout=PATIENCE_S
        ) as answer:
            token = answer.read(LONGEST_ANSWER).decode("ascii")
        question = Request(
            f"{url}/latest/meta-data/instance-type", headers={"X-aws-ec2-metadata-token": token}
        )
        with opener.open(question, timeout=PATIENCE_S) as answer:
            said = answer.read(LONGEST_ANSWER).decode("ascii").strip()
    except (OSError, ValueError):  # no network, no such service, an answer that is no text
        return ""
    return said if len(said.split()) == 1 else ""
