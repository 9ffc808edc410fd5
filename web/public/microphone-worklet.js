/**
 * Sends the first channel of its input to the page, in pieces of about 40 ms. A message of the page asks for what
 * is left: it comes, and then null.
 */
class Microphone extends AudioWorkletProcessor {
  #piece = new Float32Array(128 * Math.max(1, Math.round((0.04 * sampleRate) / 128)));
  #filled = 0;

  constructor() {
    super();
    this.port.onmessage = () => {
      this.#send();
      this.port.postMessage(null);
    };
  }

  process([[samples]]) {
    if (!samples) return true;
    if (this.#filled + samples.length > this.#piece.length) this.#send();
    this.#piece.set(samples, this.#filled);
    this.#filled += samples.length;
    return true;
  }

  #send() {
    const piece = this.#piece.slice(0, this.#filled);
    this.#filled = 0;
    this.port.postMessage(piece, [piece.buffer]);
  }
}

registerProcessor("microphone", Microphone);
