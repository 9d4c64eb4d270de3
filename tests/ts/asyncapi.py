"""Checks the description of the sockets against the schema of AsyncAPI, and its references.

    asyncapi.py DOCUMENT SCHEMA
"""

import json
import sys

import jsonschema


def pointers(value):
    if isinstance(value, dict):
        if isinstance(value.get("$ref"), str):
            yield value["$ref"]
        value = value.values()
    elif not isinstance(value, list):
        return
    for inner in value:
        yield from pointers(inner)


def leads_somewhere(document, pointer):
    for part in pointer.removeprefix("#/").split("/"):
        if part not in document:
            return False
        document = document[part]
    return True


def main():
    document, schema = (json.load(open(path, encoding="utf-8")) for path in sys.argv[1:])
    faults = [f"{'/'.join(map(str, fault.absolute_path))}: {fault.message[:300]}"
              for fault in jsonschema.Draft7Validator(schema).iter_errors(document)]
    faults += [f"{pointer} leads nowhere" for pointer in pointers(document) if not leads_somewhere(document, pointer)]
    for schema in document["components"]["schemas"].values():
        jsonschema.Draft7Validator.check_schema(schema)
    print("\n".join(faults) or f"{len(document['components']['messages'])} messages: valid")
    sys.exit(bool(faults))


main()
