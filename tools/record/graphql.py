"""Writes a GraphQL document in one form: fields and arguments in the order of their names."""
import re

TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"|[A-Za-z_$][A-Za-z0-9_]*!?|-?[0-9.]+|[{}()\[\]:!]')


class Document:
    def __init__(self, text):
        self.tokens = TOKEN.findall(text)
        self.at = 0

    def take(self, token=None):
        found = self.tokens[self.at] if self.at < len(self.tokens) else None
        if token is not None and found != token:
            return None
        self.at += 1
        return found

    def canonical(self):
        """The document, its operation and its first root field."""
        operation = self.take()
        variables = self.arguments() if self.tokens[self.at] == "(" else ""
        self.take("{")
        fields = self.fields()
        return operation + variables + " " + fields, operation, re.match(r"{ (\w+)", fields).group(1)

    def fields(self):
        found = []
        while not self.take("}"):
            field = self.take()
            if self.tokens[self.at] == "(":
                field += self.arguments()
            if self.take("{"):
                field += " " + self.fields()
            found.append(field)
        return "{ " + " ".join(sorted(found)) + " }"

    def arguments(self):
        self.take("(")
        found = []
        while not self.take(")"):
            found.append(self.pair())
        return "(" + ", ".join(sorted(found)) + ")"

    def pair(self):
        name = self.take()
        self.take(":")
        return name + ": " + self.value()

    def value(self):
        if self.take("{"):
            found = []
            while not self.take("}"):
                found.append(self.pair())
            return "{" + ", ".join(sorted(found)) + "}"
        if self.take("["):
            found = []
            while not self.take("]"):
                found.append(self.value())
            return "[" + ", ".join(found) + "]"
        return self.take()
