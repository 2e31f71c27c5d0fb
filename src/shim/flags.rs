//! The command line that containerd gives its shims, in the manner of Go's flag package: `-name value`, `-name=value`, `--name`.

/// What was asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Flags {
    pub namespace: String,
    pub id: String,
    /// containerd's gRPC socket.
    pub address: String,
    pub bundle: String,
    pub debug: bool,
    pub version: bool,
    pub info: bool,
    /// `start`, `delete`, or nothing.
    pub action: String,
}

impl Flags {
    pub fn parse(words: impl Iterator<Item = String>) -> Result<Flags, String> {
        let mut flags = Flags::default();
        let mut words = words.peekable();
        while let Some(word) = words.next_if(|word| word.starts_with('-') && word != "-") {
            let name = word.strip_prefix("--").or_else(|| word.strip_prefix('-')).unwrap_or_default();
            let (name, given) = match name.split_once('=') {
                Some((name, value)) => (name, Some(value.to_owned())),
                None => (name, None),
            };
            let on =
                || given.as_deref().is_none_or(|value| matches!(value, "1" | "t" | "T" | "true" | "TRUE" | "True"));
            match name {
                "" if word == "--" => break,
                "debug" => flags.debug = on(),
                "v" | "version" => flags.version = on(),
                "info" => flags.info = on(),
                _ => {
                    let place = flags.place(name).ok_or_else(|| format!("flag provided but not defined: {word}"))?;
                    let value = given.clone().or_else(|| words.next());
                    *place = value.ok_or_else(|| format!("flag needs an argument: {word}"))?;
                }
            }
        }
        flags.action = words.next().unwrap_or_default();
        Ok(flags)
    }

    fn place(&mut self, name: &str) -> Option<&mut String> {
        match name {
            "namespace" => Some(&mut self.namespace),
            "id" => Some(&mut self.id),
            "address" => Some(&mut self.address),
            "bundle" => Some(&mut self.bundle),
            // Known, and not needed: events go to the socket in TTRPC_ADDRESS, the shim's own socket is made by `start`.
            "publish-binary" | "socket" | "debug-socket" => Some(&mut self.action),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Flags;

    #[test]
    fn flags_are_those_of_containerd() {
        let parse = |line: &str| Flags::parse(line.split(' ').map(str::to_owned));
        let flags =
            parse("-namespace moby -address /run/c.sock -publish-binary /usr/bin/containerd -id x -debug start")
                .unwrap();
        let wanted = Flags {
            namespace: "moby".into(),
            id: "x".into(),
            address: "/run/c.sock".into(),
            debug: true,
            action: "start".into(),
            ..Flags::default()
        };
        assert_eq!(flags, wanted);
        assert_eq!(parse("--id=a --bundle=/b -debug=false delete -x").unwrap().bundle, "/b");
        assert!(parse("-info").unwrap().info);
        assert!(parse("-unknown x").is_err());
        assert!(parse("-id").is_err());
    }
}
