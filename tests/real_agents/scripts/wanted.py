"""What a script's command line says: the way of calling, whether to stream, and the prompts of one conversation."""

from __future__ import annotations

import argparse
import os
from dataclasses import dataclass

BASE_URL = os.environ.get("BASE_URL", "")
KEY = os.environ.get("API_KEY", "")
MODEL = "a-model"


@dataclass
class Wanted:
    way: str
    stream: bool
    retries: int
    prompts: list[str]


def wanted() -> Wanted:
    parser = argparse.ArgumentParser()
    parser.add_argument("way")
    parser.add_argument("--stream", action="store_true")
    parser.add_argument("--retries", type=int, default=2)
    parser.add_argument("prompts", nargs="+")
    return Wanted(**vars(parser.parse_args()))
