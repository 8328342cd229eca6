//! What clients do: commands of every kind whose effects differ from what was asked for, to any node.

use super::world::{Changes, World};

/// Keys that clients write to, of each type.
const KEYS: u64 = 40;

impl World {
    /// One command, mostly to a primary; replicas refuse what writes.
    pub fn write(&mut self) -> Result<(), String> {
        let mut index = self.rng.index(self.members.len());
        while !self.members[index].is_primary && self.rng.chance(4, 5) {
            index = self.rng.index(self.members.len());
        }
        let (key, number) = (self.rng.below(KEYS), self.rng.below(1000));
        let line = match self.rng.index(18) {
            0 => format!("SELECT {}", self.rng.below(3)),
            1 => format!("INCR counter:{key}"),
            2 | 3 => return self.serve(index, key, number),
            4 => format!("LPOP list:{key}"),
            5 => format!("SADD set:{key} {number} {} {}", number / 2, number / 3),
            6 => format!("SPOP set:{key}"),
            7 => format!("SPOP set:{key} {}", number % 5),
            8 => format!("HSET hash:{key} f{} {number}", number % 7),
            9 => format!("PEXPIRE counter:{key} {}", 200 + number * 20),
            10 => format!("GET counter:{key}"),
            11 => format!("SET big:{key} {}", "x".repeat(number as usize * 5)),
            12 => format!("SET short:{key} {number} PX {}", 100 + number * 5),
            13 => format!("HINCRBYFLOAT hash:{key} float 0.1"),
            14 => format!("XADD stream:{key} MAXLEN ~ 50 * field {number}"),
            15 => return self.wait(index, key),
            16 => format!("SET large:{} {}", key % 3, "y".repeat(number as usize * 20)),
            _ => return self.transaction(index, key),
        };
        self.command(index, &line).map(|_| ())
    }

    fn transaction(&mut self, index: usize, key: u64) -> Result<(), String> {
        let lines = [
            "MULTI".to_owned(),
            format!("INCR counter:{key}"),
            format!("APPEND text:{key} y"),
            format!("SPOP set:{key}"),
            format!("EXPIRE text:{key} 20"),
            "EXEC".to_owned(),
        ];
        lines.iter().try_for_each(|line| self.command(index, line).map(|_| ()))
    }

    /// Writes what a client may be waiting for: that one's effect follows at once, as a change of its own.
    fn serve(&mut self, index: usize, key: u64, number: u64) -> Result<(), String> {
        let key = key % 5;
        let line = match number % 3 {
            0 => format!("RPUSH list:{key} {number} {}", number + 1),
            1 => format!("LPUSH list:{key} {number}"),
            _ => format!("ZADD zset:{key} {number} m{}", number % 9),
        };
        let Some(fixture) = &mut self.members[index].fixture else { return Ok(()) };
        fixture.run(&line);
        self.carry_out_actions();
        self.observe(index, Changes::Several)
    }

    /// A command that waits until there is something.
    fn wait(&mut self, index: usize, key: u64) -> Result<(), String> {
        let (list, other) = (format!("list:{}", key % 5), format!("list:{}", (key + 1) % 5));
        let zset = format!("zset:{}", key % 5);
        let timeout = ["0.2", "2", "5"][self.rng.index(3)];
        let words: &[&str] = match self.rng.index(4) {
            0 => &["BLPOP", &list, &other, timeout],
            1 => &["BLMOVE", &list, &other, "LEFT", "RIGHT", timeout],
            2 => &["BZPOPMIN", &zset, timeout],
            _ => &["BLMPOP", timeout, "2", &list, &other, "RIGHT", "COUNT", "2"],
        };
        self.members[index].wait_in(words);
        self.carry_out_actions();
        self.observe(index, Changes::Several)
    }
}
