mod deciding;
mod defining;
mod evaluating;
mod holding;
mod properties;
mod validating;

use cutover_api::v1alpha1::FeatureFlagSpec;

pub fn spec(yaml: &str) -> FeatureFlagSpec {
    serde_yaml_ng::from_str(yaml).unwrap()
}

/// Staff first, then a tenth of everybody in two regions.
pub const CHECKOUT: &str = r#"
environment: production
variants: {"on": true, "off": false}
defaultVariant: "off"
rules:
- {name: staff, when: [{attribute: email, operator: EndsWith, values: ["@example.com", "@example.org"]}], serve: "on"}
- name: rollout
  when:
  - {attribute: region, operator: In, values: [eu, us]}
  - {attribute: user.plan, operator: NotIn, values: [legacy]}
  percentage: {growing: "on", rest: "off", percent: 10}
"#;
