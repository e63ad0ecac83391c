/** How a demonstration tells what it does: numbered steps, what was seen, and what must hold. */
export class Narration {
  #steps = 0;
  #failures = 0;

  step(text: string): void {
    console.log(`\n${++this.#steps}. ${text}`);
  }

  show(text: string): void {
    for (const line of text.trimEnd().split('\n')) console.log(`      ${line}`);
  }

  check(what: string, holds: boolean): void {
    if (!holds) this.#failures++;
    console.log(`  ${holds ? 'ok  ' : 'FAIL'}  ${what}`);
  }

  /** Says how it went, in a last line; gives the exit code. */
  end(): number {
    console.log(
      this.#failures === 0
        ? '\nThe demo has shown all that it promised.'
        : `\nFAILED: ${this.#failures} of the above do not hold.`,
    );
    return this.#failures === 0 ? 0 : 1;
  }
}
