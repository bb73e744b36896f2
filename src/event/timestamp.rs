//! Points in time: microseconds since the Unix epoch, RFC 3339 as text.

use super::error::{AgentError, AgentErrorKind};
use std::fmt;
use std::str::FromStr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// A point in time, in microseconds since the Unix epoch.
///
/// ```
/// # use framebus::Timestamp;
/// let moment: Timestamp = "2026-02-12T15:36:09.516+01:00".parse()?;
/// assert_eq!(moment.to_string(), "2026-02-12T14:36:09.516Z");
/// # Ok::<(), framebus::AgentError>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Timestamp(i64);

impl Timestamp {
    /// Returns the wall clock's time.
    pub fn now() -> Self {
        let micros = |from: Duration| {
            let seconds = i64::try_from(from.as_secs()).unwrap_or(i64::MAX);
            seconds
                .saturating_mul(1_000_000)
                .saturating_add(i64::from(from.subsec_micros()))
        };
        Self::from_micros(match SystemTime::now().duration_since(UNIX_EPOCH) {
            Ok(since) => micros(since),
            Err(before) => -micros(before.duration()),
        })
    }

    /// Returns the moment `micros` microseconds after the Unix epoch, brought into the years that
    /// RFC 3339 can write (-9999 to 9999).
    pub fn from_micros(micros: i64) -> Self {
        let (first, last) = (
            jiff::Timestamp::MIN.as_microsecond(),
            jiff::Timestamp::MAX.as_microsecond(),
        );
        Timestamp(micros.clamp(first, last))
    }

    /// Microseconds since the Unix epoch.
    pub fn as_micros(self) -> i64 {
        self.0
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // From seconds and nanoseconds: `jiff::Timestamp::from_microsecond` refuses all of the last
        // second but its start. `from_micros` keeps every value in range, so this can't fail.
        let nanos = self.0.rem_euclid(1_000_000) as i32 * 1_000;
        jiff::Timestamp::new(self.0.div_euclid(1_000_000), nanos)
            .unwrap_or(jiff::Timestamp::MAX)
            .fmt(f)
    }
}

impl FromStr for Timestamp {
    type Err = AgentError;

    fn from_str(text: &str) -> Result<Self, AgentError> {
        match text.parse::<jiff::Timestamp>() {
            Ok(moment) => Ok(Timestamp(moment.as_microsecond())),
            Err(error) => Err(AgentError::new(
                AgentErrorKind::InvalidValue,
                format!("not an RFC 3339 timestamp: {error}"),
            )),
        }
    }
}

#[cfg(feature = "serde")]
impl serde::Serialize for Timestamp {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(feature = "serde")]
impl<'de> serde::Deserialize<'de> for Timestamp {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn now_is_the_wall_clock_s_time() {
        let micros = || UNIX_EPOCH.elapsed().unwrap().as_micros() as i64;
        let (before, now, after) = (micros(), Timestamp::now().as_micros(), micros());
        assert!(before <= now && now <= after, "{before} {now} {after}");
    }

    #[test]
    fn the_first_and_the_last_moment_are_themselves_in_text() {
        for (micros, text) in [
            (i64::MIN, "-009999-01-02T01:59:59Z"),
            (-1, "1969-12-31T23:59:59.999999Z"),
            (i64::MAX, "9999-12-30T22:00:00.999999Z"),
        ] {
            let moment = Timestamp::from_micros(micros);
            assert_eq!(moment.to_string(), text);
            assert_eq!(text.parse::<Timestamp>().unwrap(), moment);
        }
    }
}
