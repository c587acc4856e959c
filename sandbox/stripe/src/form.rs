//! Request parameters: `application/x-www-form-urlencoded` with Stripe's brackets.

use crate::error::ApiError;

/// Parameters by their full name (`metadata[purchase_id]`). Handlers take what they know;
/// what is left when they are done is unknown to the API and refused, as the real one does.
#[derive(Debug, Default)]
pub struct Form(Vec<(String, String)>);

/// Bounds of `created`.
#[derive(Debug, Default, Clone, Copy)]
pub struct Created {
    from: Option<i64>,
    to: Option<i64>,
}

impl Created {
    pub fn holds(self, created: i64) -> bool {
        self.from.is_none_or(|from| created >= from) && self.to.is_none_or(|to| created <= to)
    }
}

impl Form {
    pub fn parse(text: &[u8]) -> Self {
        Self(url::form_urlencoded::parse(text).into_owned().collect())
    }

    pub fn append(&mut self, other: Self) {
        self.0.extend(other.0);
    }

    /// The same for the same parameters in any order.
    pub fn fingerprint(&self) -> String {
        let mut all = self.0.clone();
        all.sort();
        format!("{all:?}")
    }

    /// Takes one parameter; the last wins where it is repeated.
    pub fn take(&mut self, name: &str) -> Option<String> {
        let mut found = None;
        self.0.retain_mut(|(key, value)| {
            let hit = key == name;
            if hit {
                found = Some(std::mem::take(value));
            }
            !hit
        });
        found
    }

    pub fn require(&mut self, name: &str) -> Result<String, ApiError> {
        self.take(name).ok_or_else(|| ApiError::missing(name))
    }

    pub fn take_int(&mut self, name: &str) -> Result<Option<i64>, ApiError> {
        self.take(name).map(|text| int(name, &text)).transpose()
    }

    pub fn take_bool(&mut self, name: &str) -> Result<Option<bool>, ApiError> {
        match self.take(name).as_deref() {
            None => Ok(None),
            Some("true") => Ok(Some(true)),
            Some("false") => Ok(Some(false)),
            Some(other) => Err(ApiError::invalid(format!("Invalid boolean: {other}"))
                .param(name)
                .code("parameter_invalid_boolean")),
        }
    }

    /// Takes `name[key]=value` pairs, in their order.
    pub fn take_map(&mut self, name: &str) -> Vec<(String, String)> {
        let mut map: Vec<(String, String)> = Vec::new();
        self.0.retain(|(key, value)| {
            let inner = key
                .strip_prefix(name)
                .and_then(|rest| rest.strip_prefix('['))
                .and_then(|rest| rest.strip_suffix(']'));
            let Some(inner) = inner.filter(|inner| !inner.contains('[')) else {
                return true;
            };
            map.retain(|(known, _)| known != inner);
            map.push((inner.to_owned(), value.clone()));
            false
        });
        map
    }

    /// Takes `name[]=…`, `name[0]=…` or a single `name=…`.
    pub fn take_list(&mut self, name: &str) -> Vec<String> {
        let mut list = Vec::new();
        let repeated = format!("{name}[]");
        self.0.retain_mut(|(key, value)| {
            let hit = *key == repeated;
            if hit {
                list.push(std::mem::take(value));
            }
            !hit
        });
        list.extend(self.take_map(name).into_iter().map(|(_, value)| value));
        list.extend(self.take(name));
        list
    }

    /// Metadata with the real API's limits.
    pub fn take_metadata(&mut self) -> Result<Vec<(String, String)>, ApiError> {
        let metadata = self.take_map("metadata");
        if metadata.len() > 50 {
            return Err(ApiError::invalid("Metadata can hold at most 50 keys.").param("metadata"));
        }
        for (key, value) in &metadata {
            if key.chars().count() > 40 {
                return Err(ApiError::invalid(format!(
                    "Metadata keys can have up to 40 characters, but you passed in the key '{key}'"
                ))
                .param("metadata"));
            }
            if value.chars().count() > 500 {
                return Err(ApiError::invalid(format!(
                    "Metadata values can have up to 500 characters, but you passed in a value that is {} characters",
                    value.chars().count()
                ))
                .param(format!("metadata[{key}]")));
            }
        }
        Ok(metadata)
    }

    pub fn take_created(&mut self) -> Result<Created, ApiError> {
        if let Some(exactly) = self.take_int("created")? {
            return Ok(Created {
                from: Some(exactly),
                to: Some(exactly),
            });
        }
        let gte = self.take_int("created[gte]")?;
        let gt = self.take_int("created[gt]")?.map(|n| n.saturating_add(1));
        let lte = self.take_int("created[lte]")?;
        let lt = self.take_int("created[lt]")?.map(|n| n.saturating_sub(1));
        Ok(Created {
            from: gte.into_iter().chain(gt).max(),
            to: lte.into_iter().chain(lt).min(),
        })
    }

    /// Refuses what nobody took.
    pub fn finish(self) -> Result<(), ApiError> {
        match self.0.into_iter().next() {
            None => Ok(()),
            Some((name, _)) => Err(ApiError::invalid(format!(
                "Received unknown parameter: {name}"
            ))
            .param(name)
            .code("parameter_unknown")),
        }
    }
}

fn int(name: &str, text: &str) -> Result<i64, ApiError> {
    if text.is_empty() {
        return Err(ApiError::invalid(format!(
            "You passed an empty string for '{name}'. We assume empty values are an attempt to unset a parameter; however '{name}' cannot be unset."
        ))
        .param(name)
        .code("parameter_invalid_empty"));
    }
    text.parse().map_err(|_| {
        ApiError::invalid(format!("Invalid integer: {text}"))
            .param(name)
            .code("parameter_invalid_integer")
    })
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn brackets_are_read_and_leftovers_are_refused() {
        let mut form = Form::parse(
            b"metadata[a]=1&metadata[b]=x%20y&expand[]=p&expand[]=q&created[gte]=5&created[lt]=9&odd=1",
        );
        assert_eq!(
            form.take_metadata().unwrap(),
            vec![("a".into(), "1".into()), ("b".into(), "x y".into())]
        );
        assert_eq!(form.take_list("expand"), vec!["p", "q"]);
        let created = form.take_created().unwrap();
        assert!(created.holds(5) && created.holds(8) && !created.holds(4) && !created.holds(9));
        assert!(form.finish().unwrap_err().to_json()["error"]["param"] == "odd");
    }
}
