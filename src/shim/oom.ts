import { closeSync } from 'node:fs';
import { openOomNotifier, readOomKills, type NativeAddon, type OomNotifier } from '../linux/index.ts';
import type { Container } from './container.ts';
import { pollIn, pollPriority, type Reactor } from './reactor.ts';

/** When the counter is read again after a notification, milliseconds. */
const lookAgainMs = [10, 100, 1000];

/**
 * Tells of OOM kills in containers' cgroups. The kernel's counter is the truth; its notification (an eventfd on cgroup v1, a
 * change of `memory.events` on v2) only says when to look, and the end of the container is one more occasion. So a kill is told
 * once, even when the notification was missed: while the shim was replaced, or because the cgroup went at once.
 */
export class OomWatcher {
  readonly #native: NativeAddon;
  readonly #reactor: Reactor;
  readonly #report: (containerId: string) => void;
  readonly #watches = new Map<string, { id: number; fd: number; bits: number; acknowledge: () => void }>();

  constructor(native: NativeAddon, reactor: Reactor, report: (containerId: string) => void) {
    this.#native = native;
    this.#reactor = reactor;
    this.#report = report;
  }

  /** A container whose cgroup cannot be watched is still checked at its end. */
  watch(container: Container): void {
    const notifier = this.#open(container);
    if (notifier === undefined) return;
    const watch = {
      id: this.#reactor.nextId(),
      fd: notifier.fd,
      bits: notifier.priority ? pollPriority : pollIn,
      acknowledge: notifier.acknowledge,
    };
    this.#watches.set(container.id, watch);
    this.#arm(container);
    // A kill that has woken the shim, or came while it was replaced.
    this.#look(container);
  }

  #open(container: Container): OomNotifier | undefined {
    try {
      return openOomNotifier(container.record.cgroups, this.#native);
    } catch {
      return undefined;
    }
  }

  #arm(container: Container): void {
    const watch = this.#watches.get(container.id);
    if (watch === undefined) return;
    this.#reactor.watch(watch.id, watch.fd, watch.bits, () => {
      watch.acknowledge();
      this.#look(container);
      // A cgroup that is gone notifies for ever: then there is nothing more to come.
      if (readOomKills(container.record.cgroups) === undefined) this.unwatch(container.id);
      else this.#arm(container);
    });
  }

  /** Now and, as cgroup v1 notifies before it counts, a few times soon. */
  #look(container: Container): void {
    const watch = this.#watches.get(container.id);
    for (const delayMs of lookAgainMs) {
      setTimeout(() => {
        if (this.#watches.get(container.id) === watch) this.check(container);
      }, delayMs).unref();
    }
    this.check(container);
  }

  /** Reports kills that were not reported yet. */
  check(container: Container): void {
    const kills = readOomKills(container.record.cgroups) ?? 0;
    if (kills <= container.record.oomKills) return;
    container.record.oomKills = kills;
    this.#report(container.id);
  }

  unwatch(containerId: string): void {
    const watch = this.#watches.get(containerId);
    if (watch === undefined) return;
    this.#watches.delete(containerId);
    this.#reactor.unwatch(watch.id);
    closeSync(watch.fd);
  }

  /** Descriptors that tell of something, and the poll bits: what a sleeping shim must be woken by. */
  wakers(): { fd: number; bits: number }[] {
    return [...this.#watches.values()].map(({ fd, bits }) => ({ fd, bits }));
  }
}
