//! Random expressions of crontab(5), the same ones in each run.

/// Random numbers from a seed (splitmix64).
pub struct Random(u64);

impl Random {
    /// The numbers of this seed.
    pub fn of(seed: u64) -> Random {
        Random(seed)
    }

    /// A number from `low` to `high`, both included.
    pub fn between(&mut self, low: i64, high: i64) -> i64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        low + ((mixed ^ (mixed >> 31)) % (high - low + 1) as u64) as i64
    }

    /// True in so many of a hundred cases.
    pub fn percent(&mut self, percent: i64) -> bool {
        self.between(1, 100) <= percent
    }

    /// One of these.
    pub fn one<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.between(0, of.len() as i64 - 1) as usize]
    }
}

const MONTHS: &[&str] = &["jan", "Feb", "MAR", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];
const WEEKDAYS: &[&str] = &["sun", "Mon", "TUE", "wed", "thu", "fri", "sat"];

/// Bounds, names from the lower bound on, and the bounds of most numbers.
type Field = (i64, i64, &'static [&'static str], (i64, i64));

/// Five fields with lists, ranges, steps and names; one in forty is wrong or unusual. Most hours are of the night,
/// when clocks are set.
pub fn expression(random: &mut Random) -> String {
    let night = if random.percent(60) { (0, 4) } else { (0, 23) };
    let fields: [Field; 5] = [
        (0, 59, &[], (0, 59)),
        (0, 23, &[], night),
        (1, 31, &[], (1, 31)),
        (1, 12, MONTHS, (1, 12)),
        (0, 7, WEEKDAYS, (0, 7)),
    ];
    // The later a field is, the more often it is `*` in a crontab, too.
    let stars = [15, 25, 50, 65, 50];
    let texts = fields.iter().zip(stars).map(|(each, star)| field(random, each, star));
    let expression = texts.collect::<Vec<_>>().join(random.one(&[" ", "  "]));
    match random.between(1, 40) {
        1 => odd(random, &expression),
        _ => expression,
    }
}

fn field(random: &mut Random, of: &Field, star: i64) -> String {
    if random.percent(star) {
        return "*".to_owned();
    }
    match random.between(1, 10) {
        1..=4 => number(random, of),
        5 => range(random, of),
        6 => format!("{}/{}", range(random, of), random.between(1, 7)),
        7 => format!("*/{}", random.between(1, of.1 + 3)),
        8 => format!("*,{}", number(random, of)),
        _ => {
            let parts = (0..random.between(2, 4)).map(|_| match random.between(1, 4) {
                1 => range(random, of),
                2 if random.percent(20) => "*/9".to_owned(),
                _ => number(random, of),
            });
            parts.collect::<Vec<_>>().join(",")
        }
    }
}

fn number(random: &mut Random, of: &Field) -> String {
    let (low, _, names, (from, to)) = of;
    let number = random.between(*from, *to);
    written(random, number, *low, names)
}

fn range(random: &mut Random, of: &Field) -> String {
    let (low, _, names, (from, to)) = of;
    let start = random.between(*from, *to - 1);
    let end = random.between(start + 1, *to);
    format!("{}-{}", written(random, start, *low, names), written(random, end, *low, names))
}

/// As a name or a number; 7 has no name.
fn written(random: &mut Random, number: i64, low: i64, names: &[&str]) -> String {
    match names.get((number - low) as usize) {
        Some(name) if random.percent(30) => (*name).to_owned(),
        _ if random.percent(3) => format!("0{number}"),
        _ => number.to_string(),
    }
}

/// One field is replaced by something that is wrong, or right in few crontabs.
fn odd(random: &mut Random, expression: &str) -> String {
    let mut fields: Vec<&str> = expression.split_whitespace().collect();
    let at = random.between(0, 4) as usize;
    fields[at] = random.one(&[
        "99", "60", "24", "0", "32", "13", "8", "5-1", "1-99", "*/0", "1,", ",", "1,,2", "-1", "1-", "*-3", "x", "mon",
        "feb", "monday", "?", "2/3", "3-3/2", "1-2-3", "*/2/3", "1/", "/2", "+1", "1.5", "L", "5L", "LW", "2#1",
    ]);
    if random.percent(10) {
        fields.pop();
    }
    fields.join(" ")
}
