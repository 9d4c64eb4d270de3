"""A small validator of answers against the published document, and values that break a request schema."""

import json


class Document:
    def __init__(self, text):
        self.root = json.loads(text)

    def resolve(self, schema):
        while "$ref" in schema:
            target = self.root
            for part in schema["$ref"].lstrip("#/").split("/"):
                target = target[part]
            schema = target
        return schema

    def operations(self):
        for path, item in self.root["paths"].items():
            for method in ("get", "post", "put", "patch", "delete"):
                if method in item:
                    yield path, method.upper(), item[method]

    def is_public(self, operation):
        security = operation.get("security", self.root.get("security", []))
        return not security or {} in security

    def body_schema(self, operation, kind="application/json"):
        found = operation.get("requestBody", {}).get("content", {}).get(kind)
        return self.resolve(found["schema"]) if found else None

    # --- answers ---

    def fault(self, operation, reply):
        """What is wrong with an answer, or None."""
        responses = operation["responses"]
        documented = responses.get(str(reply.status)) or responses.get("default")
        if documented is None:
            return f"{reply.status} is not documented"
        documented = self.resolve(documented)
        kinds = documented.get("content", {})
        if not kinds:
            return None if not reply.body else f"a body with {reply.status}"
        kind = (reply.headers.get("Content-Type") or "").split(";")[0]
        found = next((schema for name, schema in kinds.items() if name.split(";")[0] == kind), None)
        if found is None:
            return f"media type {kind!r} is not documented for {reply.status}"
        if kind != "application/json":
            return None
        try:
            value = json.loads(reply.body)
        except ValueError:
            return "no JSON"
        return self.check(value, found["schema"], "$")

    def check(self, value, schema, at):
        schema = self.resolve(schema)
        if value is None and schema.get("nullable"):
            # Beside a composition too: that is how the document spells "this object or null", and how clients' generators read it.
            return None
        for sub in schema.get("allOf", []):
            if wrong := self.check(value, sub, at):
                return wrong
        for word in ("anyOf", "oneOf"):
            if word in schema:
                results = [self.check(value, sub, at) for sub in schema[word]]
                if all(results):
                    return results[0]
        if value is None:
            types = schema.get("type")
            fine = schema.get("nullable") or types == "null" or isinstance(types, list) and "null" in types or not types
            return None if fine else f"{at} is null"
        if "enum" in schema and value not in schema["enum"]:
            return f"{at} is {value!r}"
        types = schema.get("type")
        if types and not any(self.is_type(value, t) for t in (types if isinstance(types, list) else [types])):
            return f"{at} is no {types}"
        if isinstance(value, dict):
            missing = [name for name in schema.get("required", []) if name not in value]
            if missing:
                return f"{at} lacks {missing}"
            for name, inner in value.items():
                sub = schema.get("properties", {}).get(name)
                if sub is None and isinstance(schema.get("additionalProperties"), dict):
                    sub = schema["additionalProperties"]
                if sub and (wrong := self.check(inner, sub, f"{at}.{name}")):
                    return wrong
        if isinstance(value, list) and "items" in schema:
            for n, inner in enumerate(value[:50]):
                if wrong := self.check(inner, schema["items"], f"{at}[{n}]"):
                    return wrong
        return None

    @staticmethod
    def is_type(value, name):
        if name == "integer":
            return isinstance(value, int) and not isinstance(value, bool)
        if name == "number":
            return isinstance(value, (int, float)) and not isinstance(value, bool)
        return {"string": str, "boolean": bool, "object": dict, "array": list, "null": type(None)}[name] is type(value)

    # --- requests ---

    def value(self, schema, random, depth=0):
        """Something of the right shape, often at its edge."""
        schema = self.resolve(schema)
        for word in ("oneOf", "anyOf", "allOf"):
            if word in schema:
                return self.value(random.choice(schema[word]), random, depth + 1)
        if "enum" in schema:
            return random.choice(schema["enum"])
        kind = schema.get("type")
        kind = kind[0] if isinstance(kind, list) else kind
        if kind == "integer":
            return random.choice([0, 1, 5, -1, 2**31, 2**53, 2**63 - 1, schema.get("minimum", 0), schema.get("maximum", 7)])
        if kind == "number":
            return random.choice([0, 0.5, -1.5, 1e300])
        if kind == "boolean":
            return random.random() < 0.5
        if kind == "array":
            return [self.value(schema.get("items", {}), random, depth + 1) for _ in range(random.choice([0, 1, 2, 3, 21]))]
        if kind == "object" or "properties" in schema:
            out = {}
            for name, sub in schema.get("properties", {}).items():
                if name in schema.get("required", []) or random.random() < 0.6:
                    out[name] = self.value(sub, random, depth + 1)
            return out
        return text(random, schema.get("minLength", 0), schema.get("maxLength"))

    def broken(self, schema, random):
        """The same with one thing wrong somewhere."""
        value = self.value(schema, random)
        if isinstance(value, dict) and value and random.random() < 0.85:
            name = random.choice(sorted(value))
            if random.random() < 0.2:
                del value[name]
            else:
                value[name] = random.choice(ODD)
            return value
        if isinstance(value, list) and value and random.random() < 0.8:
            value[random.randrange(len(value))] = random.choice(ODD)
            return value
        return random.choice(ODD)


ODD = [
    None, True, False, 0, -1, 1.0, 1.5, 2**31, 2**53 + 1, 2**63, 2**64, -(2**63) - 1, 10**400, 1e308, "", " ", "\u0000", "a\u0000b",
    "\ud800", "\u202e", "\ufeff", "😀" * 50, "x" * 256, "x" * 10_000, "ﬀ" * 150, "İ" * 150, "../../etc/passwd", "..\\", "%00", "a\r\nX: y",
    "'; DROP TABLE users; --", "<svg onload=alert(1)>", "{{7*7}}", "${jndi:x}", "１２３", "٣", "a@b.c\r\nBcc: v@x", '"a b"@c', "a@[127.0.0.1]",
    "=?utf-8?q?=0d=0aBcc:?=", [], {}, [None], {"a": {}}, [[[[[[]]]]]], ["x"] * 200, {"$ne": 1}, "true", "null", "1", "-0", "1e3",
]


def text(random, least, most):
    pool = ["a", "Z", "9", " ", "é", "中", "😀", "_", ".", "-", "@", "/", "\\", "%", "'", '"', "<", "&", "\n", "\t", "İ", "ß", "\u0301"]
    size = random.choice([least, least + 1, 8, 20, most or 40, (most or 40) + 1])
    made = "".join(random.choice(pool) for _ in range(min(size, 3000)))
    return random.choice([made, "user@example.com", "correct-horse-7", "aGVsbG8=", "text/plain", "plain"])
