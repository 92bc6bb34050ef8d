"""What programs ask over HTTP: `/api/status`, `/api/sessions`, `/api/sessions/ID`, `/api/files`, `/api/search?q=…`,
`/api/blame?path=…`, `/api/usage`, and a page of text.

The control process serves it on a loopback port; the relay forwards `/` and `/api/…` of the public port to it. Answers
are the values of `ocproxy.query`, the same as `--json` on the command line.
"""
