//! The Mersenne Twister MT19937 (Matsumoto and Nishimura 1998), from which the ONNX reference draws.
//!
//! What a seed stands for is thus the same here as there.

const SIZE: usize = 624;
const SHIFT: usize = 397;

/// State of the generator, and the place of the next number in it.
pub(super) struct Mersenne {
    state: [u32; SIZE],
    next: usize,
}

impl Mersenne {
    pub(super) fn with_seed(seed: u32) -> Self {
        let mut state = [seed; SIZE];
        for place in 1..SIZE {
            let before = state[place - 1];
            state[place] = (before ^ (before >> 30))
                .wrapping_mul(1_812_433_253)
                .wrapping_add(place as u32);
        }
        Self { state, next: SIZE }
    }

    fn refill(&mut self) {
        for place in 0..SIZE {
            let upper = self.state[place] & 0x8000_0000;
            let bits = upper | self.state[(place + 1) % SIZE] & 0x7fff_ffff;
            let odd = if bits & 1 == 1 { 0x9908_b0df } else { 0 };
            self.state[place] = self.state[(place + SHIFT) % SIZE] ^ (bits >> 1) ^ odd;
        }
        self.next = 0;
    }

    fn bits(&mut self) -> u32 {
        if self.next == SIZE {
            self.refill();
        }
        let mut bits = self.state[self.next];
        self.next += 1;
        bits ^= bits >> 11;
        bits ^= (bits << 7) & 0x9d2c_5680;
        bits ^= (bits << 15) & 0xefc6_0000;
        bits ^ (bits >> 18)
    }

    /// Returns a number from 0 to below 1, of 53 random bits.
    pub(super) fn uniform(&mut self) -> f64 {
        let (high, low) = (f64::from(self.bits() >> 5), f64::from(self.bits() >> 6));
        (high * 67_108_864.0 + low) / 9_007_199_254_740_992.0
    }
}
