#!/usr/bin/env python3
"""Writes a binary file as a C array:  embed.py INPUT OUTPUT NAME HEADER SIZE

The array has SIZE bytes, the rest are zeros; an input that is longer is an error.
"""

import sys


def main():
    source, output, name, header, size = sys.argv[1:]
    size = int(size)
    with open(source, "rb") as f:
        data = f.read()
    if len(data) > size:
        sys.exit(f"embed.py: {source} has {len(data)} bytes, more than {size}")
    lines = [", ".join(f"0x{b:02x}" for b in data[i:i + 16]) for i in range(0, len(data), 16)]
    with open(output, "w", encoding="ascii") as f:
        f.write(f'#include "{header}"\n\n')
        f.write(f"alignas(64) const uint8_t {name}[{size}] = {{\n")
        f.writelines(f"    {line},\n" for line in lines)
        f.write("};\n")


main()
