// Server-sent events, again and again: what is lost is told, and tried anew with longer pauses.

import { address, get } from "./api.js";

const PAUSES = [1, 2, 4, 8, 15, 30]; // seconds before each further try

/** Events of one address.  `hear`: {event name: f(data)}; `state(word)`: live, waiting, or ended.  `silence`: seconds
 * after which nothing heard means that the line is dead, where something comes all the time. */
export class Feed {
  #source = null;
  #timer = 0;
  #watch = 0;
  #tries = 0;
  #last = "";

  constructor(path, query, hear, { state = () => {}, silence = 0 } = {}) {
    Object.assign(this, { path, query, hear, state, silence });
    this.#open();
  }

  #open() {
    // To an event source of its own the browser does not say what another one heard last.
    const source = (this.#source = new EventSource(address(this.path, { ...this.query, after: this.#last })));
    this.#awake();
    source.addEventListener("open", () => {
      this.#tries = 0;
      this.state("live");
    });
    source.addEventListener("error", () => {
      if (source !== this.#source) return;
      this.state("waiting");
      // The browser comes again by itself, and says what it heard last; not where it was refused.
      if (source.readyState === EventSource.CLOSED) this.#again();
    });
    for (const [name, hear] of Object.entries(this.hear)) {
      source.addEventListener(name, (event) => {
        this.#awake();
        this.#last = event.lastEventId || this.#last;
        hear(JSON.parse(event.data));
      });
    }
  }

  #awake() {
    if (!this.silence) return;
    clearTimeout(this.#watch);
    this.#watch = setTimeout(() => this.#again(), this.silence * 1000);
  }

  #again() {
    if (this.#source === null) return;
    this.#source.close();
    clearTimeout(this.#watch);
    this.state("waiting");
    const pause = PAUSES[Math.min(this.#tries, PAUSES.length - 1)];
    this.#tries += 1;
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => {
      // An event source does not say why it was refused; this does, and where the session ended the page asks anew.
      get("now").then(
        () => this.#source && this.#open(),
        () => this.#again(),
      );
    }, pause * 1000);
  }

  end() {
    this.#source?.close();
    this.#source = null;
    clearTimeout(this.#timer);
    clearTimeout(this.#watch);
    this.state("ended");
  }
}
