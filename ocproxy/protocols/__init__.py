"""Wire protocols, sans-IO: bytes in, values of `ocproxy.model` out. One file a protocol; see `base`."""
