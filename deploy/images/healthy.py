#!/usr/bin/env python3
"""Exit with 0 if a URL answers 200: `healthy URL [COMPONENT]`.

With a component, such as triggerer, the answer is that of Airflow's monitor/health, and the component has to
be healthy too.
"""

import json
import sys
import urllib.request

TIMEOUT_S = 10

url, *component = sys.argv[1:]
with urllib.request.urlopen(url, timeout=TIMEOUT_S) as answer:
    body = answer.read()
if component and json.loads(body)[component[0]]["status"] != "healthy":
    sys.exit(body.decode())
