//! What is asked of an application. What is shown and what is checked are the same constants.

use crate::auth::rules::email_key;
use crate::contract::{one_of, text};
use crate::problem::Problem;
use crate::state::ApiState;
use events::applications::{NodeOffer, WalletNetwork};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa::openapi::schema::Object;

/// What a document shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum DocumentKind {
    /// The node: a photograph, or an invoice.
    HardwareProof,
    /// Where it stands.
    SiteProof,
    /// Its uplink: a contract, or a measurement.
    NetworkProof,
    /// Who applies.
    Identity,
}

impl DocumentKind {
    /// Every kind; an application has one document of each at most.
    pub const ALL: [Self; 4] = [
        Self::HardwareProof,
        Self::SiteProof,
        Self::NetworkProof,
        Self::Identity,
    ];

    /// As addresses and events name it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::HardwareProof => "hardware_proof",
            Self::SiteProof => "site_proof",
            Self::NetworkProof => "network_proof",
            Self::Identity => "identity",
        }
    }

    /// The kind of this name.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == name)
    }

    /// Whether nothing is approved without it.
    #[must_use]
    pub const fn required(self) -> bool {
        matches!(self, Self::HardwareProof)
    }

    const fn what(self) -> &'static str {
        match self {
            Self::HardwareProof => {
                "The node: a photograph that shows its serial number, or an invoice."
            }
            Self::SiteProof => "Where it stands: a photograph of the place, or a lease.",
            Self::NetworkProof => "Its uplink: the contract, or a measurement.",
            Self::Identity => "Who applies.",
        }
    }
}

/// The types of documents, each with what its bytes begin with.
const CONTENT_TYPES: [(&str, &[u8]); 3] = [
    ("application/pdf", b"%PDF-"),
    ("image/png", b"\x89PNG\r\n\x1a\n"),
    ("image/jpeg", b"\xff\xd8\xff"),
];
/// Most bytes of a document.
pub const DOCUMENT_LIMIT: usize = 2 * 1024 * 1024;

/// The type of a document, as we write it; `None` for one that is not taken.
pub fn content_type(named: &str) -> Option<&'static str> {
    let essence = named.split(';').next().unwrap_or_default().trim();
    let mut known = CONTENT_TYPES.into_iter().map(|(name, _)| name);
    known.find(|name| name.eq_ignore_ascii_case(essence))
}

/// Whether bytes are what their type says.
pub fn is_of_type(content_type: &str, bytes: &[u8]) -> bool {
    CONTENT_TYPES
        .iter()
        .any(|(name, magic)| *name == content_type && bytes.starts_with(magic))
}

/// A figure of the hardware.
struct Figure {
    name: &'static str,
    least: u32,
    most: u32,
    of: fn(&Apply) -> u32,
}

/// TFT is farmed with no less; source: the minimum requirements of a 3Node in ThreeFold's manual.
const HARDWARE: [Figure; 6] = [
    Figure {
        name: "cpu_cores",
        least: 2,
        most: 1_024,
        of: |a| a.cpu_cores,
    },
    Figure {
        name: "memory_gib",
        least: 4,
        most: 65_536,
        of: |a| a.memory_gib,
    },
    Figure {
        name: "ssd_gib",
        least: 500,
        most: 1_048_576,
        of: |a| a.ssd_gib,
    },
    Figure {
        name: "hdd_gib",
        least: 0,
        most: 1_048_576,
        of: |a| a.hdd_gib,
    },
    Figure {
        name: "uplink_mbps",
        least: 10,
        most: 1_000_000,
        of: |a| a.uplink_mbps,
    },
    Figure {
        name: "public_ipv4_count",
        least: 0,
        most: 65_536,
        of: |a| a.public_ipv4_count,
    },
];
/// Memory for each core.
const MEMORY_GIB_PER_CORE: u32 = 2;
/// TFChain takes no longer name of a farm.
const FARM_NAME: (usize, usize) = (3, 40);
const FARM_NAME_PATTERN: &str = "^[A-Za-z0-9_-]{3,40}$";
const CITY: (usize, usize) = (1, 80);
const STREET_ADDRESS: (usize, usize) = (5, 200);
const CONTACT_NAME: (usize, usize) = (1, 100);
/// Open applications of one person.
pub const MOST_OPEN: i64 = 10;

/// ISO 3166-1 alpha-2, as assigned.
const COUNTRIES: &str = "AD AE AF AG AI AL AM AO AQ AR AS AT AU AW AX AZ BA BB BD BE BF BG BH BI BJ BL BM BN BO BQ BR BS BT BV \
    BW BY BZ CA CC CD CF CG CH CI CK CL CM CN CO CR CU CV CW CX CY CZ DE DJ DK DM DO DZ EC EE EG EH ER ES ET FI FJ FK FM FO FR \
    GA GB GD GE GF GG GH GI GL GM GN GP GQ GR GS GT GU GW GY HK HM HN HR HT HU ID IE IL IM IN IO IQ IR IS IT JE JM JO JP KE KG \
    KH KI KM KN KP KR KW KY KZ LA LB LC LI LK LR LS LT LU LV LY MA MC MD ME MF MG MH MK ML MM MN MO MP MQ MR MS MT MU MV MW MX \
    MY MZ NA NC NE NF NG NI NL NO NP NR NU NZ OM PA PE PF PG PH PK PL PM PN PR PS PT PW PY QA RE RO RS RU RW SA SB SC SD SE SG \
    SH SI SJ SK SL SM SN SO SR SS ST SV SX SY SZ TC TD TF TG TH TJ TK TL TM TN TO TR TT TV TW TZ UA UG UM US UY UZ VA VC VE VG \
    VI VN VU WF WS YE YT ZA ZM ZW";

/// Whether a text is a country's code.
pub fn is_country(code: &str) -> bool {
    code.len() == 2 && COUNTRIES.split_whitespace().any(|known| known == code)
}

fn farm_name() -> Object {
    let mut schema = text();
    schema.pattern = Some(FARM_NAME_PATTERN.to_owned());
    schema
}

pub(super) fn country() -> Object {
    let mut schema = text();
    schema.pattern = Some("^[A-Z]{2}$".to_owned());
    schema
}

/// A node that is offered, and how its owner is reached.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Apply {
    /// The farm that the node is to belong to: letters, digits, `-` and `_`.
    #[schema(schema_with = farm_name)]
    farm_name: String,
    /// ISO 3166-1 alpha-2.
    #[schema(schema_with = country)]
    country: String,
    #[schema(min_length = 1, max_length = 80)]
    city: String,
    /// Private: stands in no event.
    #[schema(min_length = 5, max_length = 200)]
    street_address: String,
    /// Private: stands in no event.
    #[schema(min_length = 1, max_length = 100)]
    contact_name: String,
    /// Private: stands in no event.
    #[schema(max_length = 254)]
    contact_email: String,
    /// Address that rewards go to: `G…` on Stellar, or SS58 of TFChain.
    #[schema(max_length = 64)]
    wallet: String,
    /// Cores of all processors.
    #[schema(minimum = 2, maximum = 1024)]
    cpu_cores: u32,
    #[schema(minimum = 4, maximum = 65536)]
    memory_gib: u32,
    #[schema(minimum = 500, maximum = 1_048_576)]
    ssd_gib: u32,
    #[serde(default)]
    #[schema(maximum = 1_048_576)]
    hdd_gib: u32,
    /// Uplink, in megabits a second.
    #[schema(minimum = 10, maximum = 1_000_000)]
    uplink_mbps: u32,
    /// Public IPv4 addresses.
    #[serde(default)]
    #[schema(maximum = 65536)]
    public_ipv4_count: u32,
}

/// What stands in Postgres alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Personal {
    pub street_address: String,
    pub contact_name: String,
    pub contact_email: String,
}

fn line(field: &str, value: &str, (least, most): (usize, usize)) -> Result<String, Problem> {
    let value = value.trim();
    let characters = value.chars().count();
    if value.chars().any(char::is_control) {
        return Err(Problem::field(field, "one line of text"));
    }
    if !(least..=most).contains(&characters) {
        return Err(Problem::field(
            field,
            format!("{least} to {most} characters"),
        ));
    }
    Ok(value.to_owned())
}

impl Apply {
    /// The offer and what is private of it, once all of it is as it must be.
    pub(super) fn checked(&self, state: &ApiState) -> Result<(NodeOffer, Personal), Problem> {
        let wallet = (state.wallet)(&self.wallet).ok_or_else(|| {
            Problem::field(
                "wallet",
                "this is neither an account of Stellar (G…) nor one of TFChain (SS58)",
            )
        })?;
        self.with(wallet)
    }

    fn with(&self, wallet_network: WalletNetwork) -> Result<(NodeOffer, Personal), Problem> {
        let farm_name = line("farm_name", &self.farm_name, FARM_NAME)?;
        if !farm_name
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
        {
            return Err(Problem::field("farm_name", "letters, digits, - and _ only"));
        }
        if !is_country(&self.country) {
            return Err(Problem::field(
                "country",
                "a code of ISO 3166-1 alpha-2, such as BE",
            ));
        }
        let city = line("city", &self.city, CITY)?;
        let street_address = line("street_address", &self.street_address, STREET_ADDRESS)?;
        let contact_name = line("contact_name", &self.contact_name, CONTACT_NAME)?;
        if email_key(&self.contact_email).is_none() {
            return Err(Problem::field(
                "contact_email",
                "this is not an e-mail address such as a@example.org",
            ));
        }
        for figure in &HARDWARE {
            let value = (figure.of)(self);
            if !(figure.least..=figure.most).contains(&value) {
                return Err(Problem::field(
                    figure.name,
                    format!("a node has from {} to {}", figure.least, figure.most),
                ));
            }
        }
        if self.memory_gib < self.cpu_cores.saturating_mul(MEMORY_GIB_PER_CORE) {
            return Err(Problem::field(
                "memory_gib",
                format!("at least {MEMORY_GIB_PER_CORE} GiB for each core"),
            ));
        }
        let figure = |value: u32| i32::try_from(value).unwrap_or(i32::MAX);
        let offer = NodeOffer {
            farm_name,
            country: self.country.clone(),
            city,
            wallet_network,
            wallet: self.wallet.clone(),
            cpu_cores: figure(self.cpu_cores),
            memory_gib: figure(self.memory_gib),
            ssd_gib: figure(self.ssd_gib),
            hdd_gib: figure(self.hdd_gib),
            uplink_mbps: figure(self.uplink_mbps),
            public_ipv4_count: figure(self.public_ipv4_count),
        };
        let personal = Personal {
            street_address,
            contact_name,
            contact_email: self.contact_email.clone(),
        };
        Ok((offer, personal))
    }
}

/// Bounds of a figure.
#[derive(Serialize, ToSchema)]
struct Bounds {
    field: &'static str,
    least: u32,
    most: u32,
}

/// A form of wallet.
#[derive(Serialize, ToSchema)]
struct WalletForm {
    network: &'static str,
    form: &'static str,
}

/// A document that is asked for.
#[derive(Serialize, ToSchema)]
struct DocumentAsked {
    #[schema(schema_with = kinds)]
    kind: DocumentKind,
    /// Whether nothing is approved without it.
    required: bool,
    what: &'static str,
}

pub(super) fn kinds() -> Object {
    one_of(&DocumentKind::ALL.map(DocumentKind::as_str))
}

/// What is asked of an application.
#[derive(Serialize, ToSchema)]
pub(crate) struct Requirements {
    hardware: Vec<Bounds>,
    memory_gib_per_core: u32,
    wallets: Vec<WalletForm>,
    /// Pattern of a farm's name. Another person's farm is not taken.
    farm_name: &'static str,
    /// Codes of ISO 3166-1 alpha-2.
    countries: Vec<&'static str>,
    documents: Vec<DocumentAsked>,
    document_content_types: Vec<&'static str>,
    document_most_bytes: usize,
    /// Open applications of one person.
    most_open: i64,
}

/// What is asked, from the constants that [`Apply::checked`] checks.
pub(super) fn requirements() -> Requirements {
    Requirements {
        hardware: HARDWARE
            .iter()
            .map(|figure| Bounds {
                field: figure.name,
                least: figure.least,
                most: figure.most,
            })
            .collect(),
        memory_gib_per_core: MEMORY_GIB_PER_CORE,
        wallets: vec![
            WalletForm {
                network: "stellar",
                form: "an account, G and 55 more characters with their checksum",
            },
            WalletForm {
                network: "tfchain",
                form: "an SS58 address of an account, with its checksum",
            },
        ],
        farm_name: FARM_NAME_PATTERN,
        countries: COUNTRIES.split_whitespace().collect(),
        documents: DocumentKind::ALL
            .into_iter()
            .map(|kind| DocumentAsked {
                kind,
                required: kind.required(),
                what: kind.what(),
            })
            .collect(),
        document_content_types: CONTENT_TYPES.iter().map(|(name, _)| *name).collect(),
        document_most_bytes: DOCUMENT_LIMIT,
        most_open: MOST_OPEN,
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use serde_json::{Value, json};

    fn good() -> Value {
        json!({
            "farm_name": "green-edge_1", "country": "BE", "city": "Gent", "street_address": "Korenmarkt 1",
            "contact_name": "Anna", "contact_email": "anna@example.org", "wallet": "GA", "cpu_cores": 2,
            "memory_gib": 4, "ssd_gib": 500, "uplink_mbps": 10,
        })
    }

    fn check(body: &Value) -> Result<(NodeOffer, Personal), Problem> {
        let apply: Apply = serde_json::from_value(body.clone()).unwrap();
        apply.with(WalletNetwork::Stellar)
    }

    /// The least and the most that are shown are taken, and nothing beyond.
    #[test]
    fn what_is_shown_is_what_is_checked() {
        let shown = requirements();
        assert!(check(&good()).is_ok());
        for bounds in &shown.hardware {
            let with = |value: u32| {
                let mut body = good();
                // So that memory never is too little for the cores.
                body["memory_gib"] = json!(65_536);
                body[bounds.field] = json!(value);
                check(&body).is_ok()
            };
            assert!(with(bounds.least) && with(bounds.most), "{}", bounds.field);
            assert!(!with(bounds.most + 1), "{}", bounds.field);
            assert!(
                bounds.least == 0 || !with(bounds.least - 1),
                "{}",
                bounds.field
            );
        }
        let mut body = good();
        body["cpu_cores"] = json!(3);
        assert!(check(&body).is_err());
        body["memory_gib"] = json!(3 * shown.memory_gib_per_core);
        assert!(check(&body).is_ok());
        for country in &shown.countries {
            body["country"] = json!(country);
            assert!(check(&body).is_ok(), "{country}");
        }
        assert_eq!(shown.countries.len(), 249);
        for (field, wrong) in [
            ("country", "XX"),
            ("country", "be"),
            ("country", "BE NL"),
            ("farm_name", "ab"),
            ("farm_name", "a farm"),
            ("farm_name", "größe"),
            ("city", ""),
            ("city", "a\0b"),
            ("street_address", "a\nb c d"),
            ("contact_name", " "),
            ("contact_email", "anna"),
        ] {
            let mut body = good();
            body[field] = json!(wrong);
            assert!(check(&body).is_err(), "{field} {wrong:?}");
        }
        body["farm_name"] = json!("x".repeat(41));
        assert!(check(&body).is_err());
    }

    #[test]
    fn documents_are_what_their_type_says() {
        assert_eq!(
            content_type("Application/PDF; x=y"),
            Some("application/pdf")
        );
        assert_eq!(content_type("text/html"), None);
        assert_eq!(content_type(""), None);
        assert!(is_of_type("application/pdf", b"%PDF-1.7"));
        assert!(!is_of_type("application/pdf", b"<html>"));
        assert!(!is_of_type("image/png", b"%PDF-1.7"));
        assert!(!is_of_type("image/jpeg", b""));
        for kind in DocumentKind::ALL {
            assert_eq!(DocumentKind::parse(kind.as_str()), Some(kind));
        }
    }
}
