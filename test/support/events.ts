import type { Running } from './running.ts';
import { until } from './until.ts';

/** One event as `ctr events` prints it. */
export interface SeenEvent {
  topic: string;
  /** The message's fields by their names in the protocol; those that are zero are absent. */
  fields: Record<string, unknown>;
}

const line = /^\d{4}-.*? UTC (?<namespace>\S+) (?<topic>\/\S+) (?<json>\{.*\})$/;

/** A subscriber to containerd's events. */
export class EventLog {
  readonly #running: Running;

  /**
   * @param running `ctr events`
   * @param provoke makes containerd publish something that is not a task's, so that we know when we are subscribed
   */
  static async follow(running: Running, provoke: () => Promise<unknown>): Promise<EventLog> {
    const log = new EventLog(running);
    await until('a first event', async () => {
      await provoke();
      return log.#all().length > 0;
    });
    return log;
  }

  private constructor(running: Running) {
    this.#running = running;
  }

  #all(): SeenEvent[] {
    const events: SeenEvent[] = [];
    for (const text of this.#running.stdout.split('\n')) {
      const { topic, json } = line.exec(text)?.groups ?? {};
      if (topic === undefined || json === undefined) continue;
      events.push({ topic, fields: JSON.parse(json) as Record<string, unknown> });
    }
    return events;
  }

  /** The events of one container, in the order of their arrival. */
  of(container: string): SeenEvent[] {
    return this.#all().filter(
      ({ topic, fields }) => topic.startsWith('/tasks/') && fields['container_id'] === container,
    );
  }

  /** Their topics without `/tasks/`. */
  topicsOf(container: string): string[] {
    return this.of(container).map(({ topic }) => topic.slice('/tasks/'.length));
  }

  /** Waits for the container's first event of this topic (without `/tasks/`). */
  async until(container: string, topic: string, withinMilliseconds?: number): Promise<SeenEvent> {
    const probe = () => {
      const found = this.of(container).find((event) => event.topic === `/tasks/${topic}`);
      if (found === undefined) throw new Error(`so far: ${this.topicsOf(container).join(', ')}`);
      return found;
    };
    return await until(`the event ${topic} of ${container}`, probe, withinMilliseconds);
  }
}
