import type { Schedule, ScheduleDefinitionInput } from '#protocol/schedule.ts';
import type { Call, Signalled } from './client-call.ts';

/** The schedules of a hub, as `client.schedules`. Every call rejects with the hub's own error. */
export class ScheduleCalls {
  readonly #call: Call;

  constructor(call: Call) {
    this.#call = call;
  }

  async list(options: Signalled = {}): Promise<Schedule[]> {
    const answer = await this.#call<{ items: Schedule[] }>({ path: '/v1/schedules', signal: options.signal });
    return answer.items;
  }

  /** One schedule, with the next times to come, ms since 1970. */
  async get(name: string, options: Signalled = {}): Promise<Schedule & { upcomingMs: number[] }> {
    const answer = await this.#call<{ schedule: Schedule & { upcomingMs: number[] } }>({
      path: pathOf(name),
      signal: options.signal,
    });
    return answer.schedule;
  }

  /** Keeps a schedule under this name, or changes the one that is there. */
  async put(name: string, definition: ScheduleDefinitionInput, options: Signalled = {}): Promise<Schedule> {
    const answer = await this.#call<{ schedule: Schedule }>({
      method: 'PUT',
      path: pathOf(name),
      json: definition,
      signal: options.signal,
    });
    return answer.schedule;
  }

  /** What it submitted goes on. */
  async remove(name: string, options: Signalled = {}): Promise<void> {
    await this.#call({ method: 'DELETE', path: pathOf(name), signal: options.signal });
  }
}

const pathOf = (name: string) => `/v1/schedules/${encodeURIComponent(name)}`;
