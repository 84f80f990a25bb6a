//! What could not be written, and whether it still cannot.

/// The first thing that could not be written; the run goes on and says it at its end.
#[derive(Debug, Default)]
pub(crate) struct Failure {
    first: Option<store::Error>,
    /// It fails now: what went wrong last, in words, until something could be written again.
    pub(super) now: Option<String>,
}

impl Failure {
    /// Logged once: what follows is mostly the same, for every call.
    pub(super) fn note(&mut self, error: store::Error) {
        if self.now.is_none() {
            tracing::error!(%error, "the archive does not take what is recorded");
            self.now = Some(error.to_string());
        }
        self.first.get_or_insert(error);
    }

    /// Something could be begun or ended: it fails no more.
    pub(super) fn is_over(&mut self) {
        if self.now.take().is_some() {
            tracing::warn!("the archive takes what is recorded again");
        }
    }

    pub(super) fn check(&mut self, result: Result<(), store::Error>) {
        if let Err(error) = result {
            self.note(error);
        }
    }

    /// What failed, if anything did.
    pub(crate) fn into_result(self) -> Result<(), store::Error> {
        self.first.map_or(Ok(()), Err)
    }
}
