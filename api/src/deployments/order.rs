//! What a deployment can be: a workload on a node, a name, or a whole node.

use super::{FIRST, fits, kinds};
use crate::problem::Problem;
use crate::state::ApiState;
use events::deployments::DeploymentKind;
use events::ids::{DeploymentId, NodeId};
use projections::deployments::Kind;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// More public addresses than this no node has to give.
const PUBLIC_IPS: u8 = 16;
/// What the chain takes for a name.
const NAME_LENGTHS: std::ops::RangeInclusive<usize> = 3..=64;

/// A deployment as the caller writes it: a workload for a node, a name, or a whole node.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = BatchDeployment)]
pub(crate) struct Wanted {
    #[serde(default)]
    #[schema(schema_with = kinds)]
    pub kind: Kind,
    /// Of a workload and of a whole node.
    #[schema(value_type = Option<u32>, minimum = 1)]
    pub node_id: Option<NodeId>,
    /// Of a name.
    #[schema(min_length = 3, max_length = 64, pattern = "^[a-z0-9-]{3,64}$")]
    pub name: Option<String>,
    /// The workload of a node, at most 512 bytes of UTF-8.
    #[schema(max_length = 512)]
    pub data: Option<String>,
    /// Public addresses, of a workload.
    #[serde(default)]
    #[schema(maximum = 16)]
    pub public_ips: u8,
    pub solution_provider: Option<u32>,
}

/// A deployment that can be meant.
#[derive(Debug)]
pub(super) struct Order {
    pub kind: DeploymentKind,
    /// 0 for a name.
    pub node_id: NodeId,
    pub name: Option<String>,
    pub data: String,
    pub public_ips: i32,
    pub solution_provider: Option<i64>,
}

impl Wanted {
    /// What is meant.
    ///
    /// # Errors
    /// Names the field that is wrong, missing, or of no meaning for the kind.
    pub(super) fn checked(self) -> Result<Order, Problem> {
        let foreign = |field: &str, there: bool| {
            if there {
                let detail = format!("a deployment of this kind has no {field}");
                return Err(Problem::field(field, detail));
            }
            Ok(())
        };
        let kind = match self.kind {
            Kind::Node => {
                foreign("name", self.name.is_some())?;
                let missing = || Problem::field("data", "a workload has data, empty if need be");
                fits(self.data.as_deref().ok_or_else(missing)?)?;
                DeploymentKind::Node
            }
            Kind::Name => {
                foreign("node_id", self.node_id.is_some())?;
                foreign("solution_provider", self.solution_provider.is_some())?;
                valid_name(self.name.as_deref().unwrap_or_default())?;
                DeploymentKind::Name
            }
            Kind::Rent => {
                foreign("name", self.name.is_some())?;
                DeploymentKind::Rent
            }
        };
        if kind != DeploymentKind::Node {
            foreign("data", self.data.is_some())?;
            foreign("public_ips", self.public_ips > 0)?;
        }
        if self.public_ips > PUBLIC_IPS {
            return Err(Problem::field(
                "public_ips",
                format!("at most {PUBLIC_IPS} public addresses can be had"),
            ));
        }
        let node_id = self.node_id.unwrap_or(NodeId(0));
        if kind != DeploymentKind::Name && node_id.0 == 0 {
            return Err(Problem::field("node_id", "nodes count from 1"));
        }
        Ok(Order {
            kind,
            node_id,
            name: self.name,
            data: self.data.unwrap_or_default(),
            public_ips: i32::from(self.public_ips),
            solution_provider: self.solution_provider.map(i64::from),
        })
    }
}

impl Order {
    /// Hash of the workload; a name and a whole node have none.
    pub(super) fn hash(&self, state: &ApiState, id: DeploymentId) -> String {
        match self.kind {
            DeploymentKind::Node => (state.deployment_hash)(id, FIRST, &self.data),
            DeploymentKind::Name | DeploymentKind::Rent => String::new(),
        }
    }
}

fn valid_name(name: &str) -> Result<(), Problem> {
    let fits = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    if NAME_LENGTHS.contains(&name.len()) && name.bytes().all(fits) {
        return Ok(());
    }
    Err(Problem::field(
        "name",
        "a name has 3 to 64 lower-case letters, digits and hyphens",
    ))
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use serde_json::{Value, json};

    fn checked(body: Value) -> Result<Order, Problem> {
        serde_json::from_value::<Wanted>(body).unwrap().checked()
    }

    #[test]
    fn each_kind_has_what_it_needs_and_nothing_else() {
        let node = checked(json!({"node_id": 3, "data": "", "public_ips": 2})).unwrap();
        assert_eq!((node.kind, node.public_ips), (DeploymentKind::Node, 2));
        let name = checked(json!({"kind": "name", "name": "a-name-1"})).unwrap();
        assert_eq!((name.kind, name.node_id), (DeploymentKind::Name, NodeId(0)));
        let rent = checked(json!({"kind": "rent", "node_id": 3})).unwrap();
        assert_eq!((rent.kind, rent.node_id), (DeploymentKind::Rent, NodeId(3)));
        for wrong in [
            json!({"node_id": 3}),
            json!({"data": ""}),
            json!({"node_id": 0, "data": ""}),
            json!({"node_id": 3, "data": "x".repeat(513)}),
            json!({"node_id": 3, "data": "", "name": "abc"}),
            json!({"node_id": 3, "data": "", "public_ips": 17}),
            json!({"kind": "name"}),
            json!({"kind": "name", "name": "ab"}),
            json!({"kind": "name", "name": "Abc"}),
            json!({"kind": "name", "name": "x".repeat(65)}),
            json!({"kind": "name", "name": "abc", "node_id": 3}),
            json!({"kind": "name", "name": "abc", "data": ""}),
            json!({"kind": "rent"}),
            json!({"kind": "rent", "node_id": 3, "data": ""}),
            json!({"kind": "rent", "node_id": 3, "public_ips": 1}),
        ] {
            assert!(checked(wrong.clone()).is_err(), "{wrong}");
        }
    }
}
