"""A template without parameters and conditions, as CloudFormation makes it for given parameters.

Values of a deployed stack (an attribute of a resource, its id) stay as they are.
"""

import re

# In place of the values of a deploy.
PSEUDO = {
    "AWS::AccountId": "123456789012",
    "AWS::Partition": "aws",
    "AWS::Region": "us-east-1",
    "AWS::StackName": "seer",
    "AWS::URLSuffix": "amazonaws.com",
}
NOTHING = object()


class Resolver:
    """Evaluates the intrinsic functions of a template for parameters; those without a value have their default."""

    def __init__(self, template: dict, given: dict[str, str]):
        self.template = template
        declared = template.get("Parameters", {})
        unknown = set(given) - set(declared) - set(PSEUDO)
        assert not unknown, "no parameter %s" % unknown
        defaults = {name: parameter["Default"] for name, parameter in declared.items() if "Default" in parameter}
        self.parameters = {name: str(value) for name, value in {**PSEUDO, **defaults, **given}.items()}

    def holds(self, condition) -> bool:
        """Whether a condition holds; by its name, or as it is written."""
        if isinstance(condition, str):
            return self.holds(self.template["Conditions"][condition])
        ((function, argument),) = condition.items()
        if function == "Condition":
            return self.holds(argument)
        if function == "Fn::Equals":
            one, other = (str(self.of(side)) for side in argument)
            return one == other
        if function == "Fn::Contains":
            return str(self.of(argument[1])) in map(str, self.of(argument[0]))
        each = [self.holds(one) for one in argument]
        return {"Fn::Not": not each[0], "Fn::And": all(each), "Fn::Or": any(each)}[function]

    def of(self, value):
        """The value with everything evaluated that can be."""
        if isinstance(value, list):
            return [made for made in map(self.of, value) if made is not NOTHING]
        if not isinstance(value, dict):
            return value
        if len(value) == 1:
            ((function, argument),) = value.items()
            call = getattr(self, function.replace("Fn::", "").lower() + "_", None)
            if call and (function.startswith("Fn::") or function == "Ref"):
                return call(argument)
        made = {key: self.of(one) for key, one in value.items()}
        return {key: one for key, one in made.items() if one is not NOTHING}

    def ref_(self, name):
        if name == "AWS::NoValue":
            return NOTHING
        return self.parameters.get(name, {"Ref": name})

    def if_(self, argument):
        return self.of(argument[1] if self.holds(argument[0]) else argument[2])

    def sub_(self, argument):
        text, names = (argument, {}) if isinstance(argument, str) else (argument[0], self.of(argument[1]))
        known = {name: value for name, value in {**self.parameters, **names}.items() if isinstance(value, str)}
        text = re.sub(r"\$\{([\w:]+)\}", lambda name: known.get(name[1], name[0]), text)
        left = {name: value for name, value in names.items() if "${%s}" % name in text}
        if "${" not in text:
            return text
        return {"Fn::Sub": [text, left] if left else text}

    def join_(self, argument):
        parts = self.of(argument[1])
        if isinstance(parts, list) and all(isinstance(part, str) for part in parts):
            return argument[0].join(parts)
        return {"Fn::Join": [argument[0], parts]}

    def split_(self, argument):
        text = self.of(argument[1])
        return text.split(argument[0]) if isinstance(text, str) else {"Fn::Split": [argument[0], text]}

    def select_(self, argument):
        items = self.of(argument[1])
        return items[int(argument[0])] if isinstance(items, list) else {"Fn::Select": [argument[0], items]}

    def whole(self) -> dict:
        """The template without parameters and rules, and without resources and outputs whose condition fails."""
        kept = {key: self.template[key] for key in ("AWSTemplateFormatVersion", "Transform", "Description", "Globals")
                if key in self.template}
        for part in ("Resources", "Outputs"):
            there = {name: one for name, one in self.template.get(part, {}).items()
                     if self.holds(one.get("Condition", {"Fn::Equals": ["", ""]}))}
            kept[part] = {name: {key: value for key, value in one.items() if key != "Condition"}
                          for name, one in there.items()}
        return self.of(kept)
