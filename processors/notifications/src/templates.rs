//! Texts: one file for each kind and language, in `templates/<language>/`. Its first line is the
//! subject, and all of a text message; what follows after an empty line is the mail.

use crate::decide::LANGUAGE;
use events::notifications::Figure;
use minijinja::{Environment, UndefinedBehavior};
use std::collections::BTreeMap;

/// The languages that there are.
pub const LANGUAGES: &[&str] = &[LANGUAGE];

macro_rules! english {
    ($kind:literal) => {
        (
            concat!("en/", $kind),
            include_str!(concat!("../templates/en/", $kind, ".txt")),
        )
    };
}

/// Every template, by language and kind.
const TEMPLATES: &[(&str, &str)] = &[
    english!("purchase_settled"),
    english!("purchase_refunded"),
    english!("purchase_not_paid"),
    english!("purchase_lost"),
    english!("purchase_paid_late"),
    english!("payment_refunded"),
    english!("purchase_disputed"),
    english!("payment_quarantined"),
    english!("deployment_created"),
    english!("batch_created"),
    english!("deployment_failed"),
    english!("deployment_update_failed"),
    english!("deployment_cancelled"),
    english!("deployment_cancelled_by_chain"),
    english!("deployment_cancel_failed"),
    english!("balance_low"),
    english!("grace_period_started"),
    english!("grace_period_ended"),
    english!("workload_failed"),
    english!("twin_created"),
    english!("twin_failed"),
    english!("webhook_endpoint_disabled"),
    english!("treasury_low"),
    english!("treasury_restored"),
    english!("purchase_alarmed"),
    english!("deposit_unmatched"),
    english!("deposit_alarmed"),
    english!("node_application_approved"),
    english!("node_application_rejected"),
    english!("node_application_changes_requested"),
    english!("node_application_waits"),
];

/// A kind has no template, or a figure is missing in it: a fault of ours.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct NoText(String);

/// What somebody is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Written {
    /// One line.
    pub subject: String,
    /// Plain text.
    pub text: String,
}

/// The templates. One that names a figure which is not there writes nothing.
pub struct Templates(Environment<'static>);

impl Templates {
    /// Reads them all.
    ///
    /// # Errors
    /// When one is not a template.
    pub fn new() -> Result<Self, NoText> {
        let mut environment = Environment::new();
        environment.set_undefined_behavior(UndefinedBehavior::Strict);
        // Plain text: nothing is escaped.
        environment.set_auto_escape_callback(|_| minijinja::AutoEscape::None);
        for (name, text) in TEMPLATES {
            environment
                .add_template(name, text)
                .map_err(|error| NoText(error.to_string()))?;
        }
        Ok(Self(environment))
    }

    /// Writes what happened, in English where there is no other language.
    ///
    /// # Errors
    /// See [`NoText`].
    pub fn write(&self, language: &str, kind: &str, figures: &[Figure]) -> Result<Written, NoText> {
        let named = self.0.get_template(&format!("{language}/{kind}"));
        let template = named
            .or_else(|_| self.0.get_template(&format!("{LANGUAGE}/{kind}")))
            .map_err(|error| NoText(error.to_string()))?;
        // A figure is one line, whatever a counterparty said.
        let figures: BTreeMap<&str, String> = figures
            .iter()
            .map(|f| (f.name.as_str(), f.value.replace(char::is_control, " ")))
            .collect();
        let text = template
            .render(&figures)
            .map_err(|error| NoText(error.to_string()))?;
        let (subject, text) = text
            .split_once("\n\n")
            .ok_or_else(|| NoText(format!("{kind} has no subject")))?;
        Ok(Written {
            subject: subject.to_owned(),
            text: format!("{text}\n"),
        })
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use crate::kinds::{KINDS, figure};
    use std::collections::BTreeSet;

    fn figures(kind: &str) -> Vec<Figure> {
        let kind = KINDS.iter().find(|k| k.name == kind).unwrap();
        let names = kind.figures.iter();
        names
            .map(|name| figure(name, format!("<{name}>")))
            .collect()
    }

    #[test]
    fn every_kind_has_a_template_that_names_all_its_figures_in_every_language() {
        let templates = Templates::new().unwrap();
        for language in LANGUAGES {
            for kind in KINDS {
                let all = figures(kind.name);
                let written = templates.write(language, kind.name, &all).unwrap();
                let everything = format!("{}\n{}", written.subject, written.text);
                assert!(!written.subject.contains('\n'), "{}", kind.name);
                for name in kind.figures {
                    assert!(
                        everything.contains(&format!("<{name}>")),
                        "{}: {name}",
                        kind.name
                    );
                    let without: Vec<Figure> =
                        all.iter().filter(|f| f.name != *name).cloned().collect();
                    assert!(templates.write(language, kind.name, &without).is_err());
                }
            }
        }
        let templates: BTreeSet<String> = TEMPLATES.iter().map(|(n, _)| (*n).to_owned()).collect();
        let kinds: BTreeSet<String> = LANGUAGES
            .iter()
            .flat_map(|l| KINDS.iter().map(move |k| format!("{l}/{}", k.name)))
            .collect();
        assert_eq!(templates, kinds);
    }

    #[test]
    fn a_text_is_written_as_it_is_read() {
        let templates = Templates::new().unwrap();
        let written = templates
            .write(
                "xx",
                "treasury_low",
                &[
                    figure("holding", "treasury/USDC"),
                    figure("account", "GA"),
                    figure("asset", "USDC:GB"),
                    figure("balance", "12.5000000"),
                    figure("threshold", "1000.0000000\r\nBcc: eve@example.org"),
                ],
            )
            .unwrap();
        assert_eq!(
            written.subject,
            "treasury/USDC is low: 12.5000000 of 1000.0000000  Bcc: eve@example.org"
        );
        assert!(
            written
                .text
                .starts_with("treasury/USDC holds 12.5000000, less than")
        );
        assert!(written.text.ends_with("the runbook tells how.\n"));
        let unknown = templates.write("en", "nothing", &[]);
        assert!(unknown.is_err());
    }
}
