// Two rising notes and a buzz when money is there. A browser lets a page sound only
// after a person touched it, so the context is made at the first touch.
let context = null;

function wake() {
  context ??= window.AudioContext ? new AudioContext() : null;
  if (context?.state === "suspended") context.resume().catch(() => {});
}

function note(frequency, start, length) {
  const oscillator = context.createOscillator();
  const gain = context.createGain();
  oscillator.frequency.value = frequency;
  gain.gain.setValueAtTime(0.0001, start);
  gain.gain.exponentialRampToValueAtTime(0.25, start + 0.02);
  gain.gain.exponentialRampToValueAtTime(0.0001, start + length);
  oscillator.connect(gain).connect(context.destination);
  oscillator.start(start);
  oscillator.stop(start + length);
}

export function listen() {
  document.addEventListener("pointerdown", wake, { passive: true });
  document.addEventListener("keydown", wake);
}

export function good() {
  navigator.vibrate?.([90, 60, 140]);
  if (context?.state !== "running") return;
  note(660, context.currentTime, 0.18);
  note(990, context.currentTime + 0.16, 0.34);
}

export function bad() {
  navigator.vibrate?.(220);
  if (context?.state !== "running") return;
  note(220, context.currentTime, 0.25);
}
