//! A small template with one instance of each supported element: parameters, conditions and values that depend on them.

use super::*;

const TEMPLATE: &str = r#"
Parameters:
  Kind: {Type: String, Default: small, AllowedValues: [small, large]}
  Count: {Type: Number, Default: 8, MinValue: 1, MaxValue: 10}
  List: {Type: CommaDelimitedList, Default: ""}
  Needed: {Type: String}
Conditions:
  Large: !Equals [!Ref Kind, large]
  Listed: !Not [!Equals [!Join ["", !Ref List], ""]]
  Both: !And [!Condition Large, !Condition Listed]
  Either: !Or [!Condition Large, !Condition Listed]
Globals:
  Function:
    Timeout: 26
    Network: !If [Large, {Subnets: [a]}, !Ref AWS::NoValue]
    Environment: {Variables: {A: one, B: !If [Large, two, !Ref AWS::NoValue]}}
Resources:
  Get:
    Type: AWS::Serverless::Function
    Properties:
      CodeUri: target/lambda/get/
      Concurrency: !Ref Count
      Log: !GetAtt GetLog.Arn
      Name: !Sub ${AWS::StackName}-${Kind}
      Environment: {Variables: {A: !Ref Needed}}
  Put:
    Type: AWS::Serverless::Function
    IgnoreGlobals: [Environment, Network]
    Properties: {CodeUri: elsewhere/, Environment: {Variables: {C: three}}}
  Other: {Type: "AWS::SNS::Topic"}
Outputs:
  Address: {Value: !Sub "${Get.Arn}/${Kind}"}
  User: {Value: !Sub ["${Id}/${Kind}", {Id: !GetAtt Other.TopicName}]}
  Both: {Value: !Join [",", [!Ref Get, !Ref Put]]}
  Unknown: {Value: !Select [0, !GetAZs ""]}
"#;

fn given(parameters: &[(&str, &str)]) -> BTreeMap<String, String> {
    let parameters = parameters.iter();
    parameters
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect()
}

/// Parameters and conditions are resolved in both.
#[test]
fn own_properties_override_globals() {
    let template = Template::parse(TEMPLATE).unwrap();
    let functions = template.functions();
    let names: Vec<_> = functions
        .iter()
        .map(|function| (function.id.as_str(), function.binary()))
        .collect();
    assert_eq!(names, [("Get", Some("get")), ("Put", None)]);
    let values = Values::new(&template, &BTreeMap::new()).unwrap();
    assert_eq!(
        values.of(&functions[0].properties),
        json!({
            "CodeUri": "target/lambda/get/", "Timeout": 26, "Concurrency": "8", "Name": "${AWS::StackName}-small",
            "Log": {"Fn::GetAtt": ["GetLog", "Arn"]}, "Environment": {"Variables": {"A": {"Ref": "Needed"}}},
        })
    );
    let values = Values::new(&template, &given(&[("Kind", "large"), ("Needed", "yes")])).unwrap();
    let large = values.of(&functions[0].properties);
    assert_eq!(large["Environment"]["Variables"], json!({"A": "yes", "B": "two"}));
    assert_eq!(large["Network"], json!({"Subnets": ["a"]}));
    assert_eq!(
        values.of(&functions[1].properties),
        json!({"CodeUri": "elsewhere/", "Timeout": 26, "Environment": {"Variables": {"C": "three"}}})
    );
}

#[test]
fn outputs_name_attributes_as_sub_does() {
    let template = Template::parse(TEMPLATE).unwrap();
    let values = Values::new(&template, &BTreeMap::new()).unwrap();
    assert_eq!(
        values.outputs(),
        given(&[
            ("Address", "${Get.Arn}/small"),
            ("User", "${Other.TopicName}/small"),
            ("Both", "${Get},${Put}"),
        ])
    );
}

#[test]
fn conditions_are_evaluated() {
    let template = Template::parse(TEMPLATE).unwrap();
    for (kind, list, both, either) in [
        ("small", "", false, false),
        ("large", "", false, true),
        ("small", "a,b", false, true),
        ("large", "a,b", true, true),
    ] {
        let values = Values::new(&template, &given(&[("Kind", kind), ("List", list)])).unwrap();
        assert_eq!(
            (values.condition("Both"), values.condition("Either")),
            (both, either),
            "{kind} {list}"
        );
    }
}

#[test]
fn bad_parameter_is_refused_by_name() {
    let template = Template::parse(TEMPLATE).unwrap();
    for (parameter, says) in [
        (
            ("Size", "1"),
            "the template has no parameter Size; it has Count, Kind, List, Needed",
        ),
        (("Kind", "huge"), "Kind must be one of small, large"),
        (("Count", "11"), "Count must be a number, at least 1 and at most 10"),
        (("Count", "many"), "Count must be a number, at least 1 and at most 10"),
    ] {
        let error = Values::new(&template, &given(&[parameter])).unwrap_err();
        assert_eq!(error.to_string(), says);
    }
}
