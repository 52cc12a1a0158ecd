import { fromCallback } from 'xstate';
import type { Clock, TimerId } from '#protocol/env.ts';
import type { MachineNotice } from '#protocol/link.ts';
import type { Residency } from '#protocol/model.ts';
import type { LinkClient } from './link-client.ts';

export type ReporterEvent =
  | ({ type: 'progress' } & MachineNotice<'progress'>['items'][number])
  | ({ type: 'preview' } & MachineNotice<'preview'>)
  | {
      type: 'residency';
      entries: Residency[] /** All models there are: others are gone. */;
      present: string[];
      version: number;
    }
  | { type: 'incident'; kind: string; path?: string; detail: string; jobId: string | null }
  | { type: 'link.online' }
  | { type: 'link.offline' };

export interface ReporterSettings {
  /** News are gathered for this long, then sent together, ms. */
  gatherMs: number;
  /** With more than this waiting in the socket's buffer, news wait, bytes. */
  bufferLimitBytes: number;
}

export interface ReporterOptions {
  clock: Clock;
  link: Pick<LinkClient, 'notify' | 'bufferedBytes'>;
  settings: ReporterSettings;
  /** News were thrown away unsent: too many waited. */
  onOverflow: (event: string) => void;
}

/** Most incidents that wait for a link; older ones are thrown away first. */
const incidentsLimit = 100;
/** Most models of one notice; a machine with more tells the others in further ones. */
const residencyLimit = 500;

/**
 * Sends what is worth knowing and may be lost: progress (newest per job), previews (newest per job),
 * residency (newest per model; all of it on a new link), incidents. Nothing here is needed for a job
 * to end right.
 */
class Reporter {
  readonly #options: ReporterOptions;
  readonly #progress = new Map<string, Extract<ReporterEvent, { type: 'progress' }>>();
  readonly #previews = new Map<string, Extract<ReporterEvent, { type: 'preview' }>>();
  readonly #residency = new Map<string, Residency>();
  readonly #changed = new Set<string>();
  #incidents: MachineNotice<'incident'>[] = [];
  #full = true;
  #online = false;
  #timer: TimerId | null = null;

  constructor(options: ReporterOptions) {
    this.#options = options;
  }

  take(event: ReporterEvent): void {
    switch (event.type) {
      case 'progress':
        if (this.#online) this.#progress.set(event.jobId, event);
        break;
      case 'preview':
        if (this.#online) this.#previews.set(event.jobId, event);
        break;
      case 'residency':
        this.#noteResidency(event);
        break;
      case 'incident':
        if (this.#incidents.length >= incidentsLimit) {
          this.#incidents.shift();
          this.#options.onOverflow('incident');
        }
        this.#incidents.push({
          kind: event.kind.slice(0, 64),
          path: (event.path ?? '').slice(0, 256),
          detail: event.detail.slice(0, 2_000),
          jobId: event.jobId,
        });
        break;
      case 'link.online':
        this.#online = true;
        this.#full = true;
        break;
      case 'link.offline':
        this.#online = false;
        return this.stop();
    }
    this.#gather();
  }

  stop(): void {
    if (this.#timer !== null) this.#options.clock.clearTimeout(this.#timer);
    this.#timer = null;
  }

  #noteResidency(event: Extract<ReporterEvent, { type: 'residency' }>): void {
    for (const entry of event.entries) {
      this.#residency.set(entry.modelId, entry);
      this.#changed.add(entry.modelId);
    }
    const present = new Set(event.present);
    for (const entry of this.#residency.values()) {
      if (present.has(entry.modelId) || entry.state === 'gone') continue;
      this.#residency.set(entry.modelId, {
        ...entry,
        state: 'gone',
        bytes: 0,
        fraction: 0,
        version: event.version,
      });
      this.#changed.add(entry.modelId);
    }
  }

  #gather(): void {
    if (!this.#online || this.#timer !== null) return;
    this.#timer = this.#options.clock.setTimeout(() => {
      this.#timer = null;
      this.#flush();
    }, this.#options.settings.gatherMs);
  }

  #flush(): void {
    const { link, settings } = this.#options;
    if (link.bufferedBytes() > settings.bufferLimitBytes) return this.#gather();
    this.#flushResidency();
    const items = [...this.#progress.values()].slice(0, 256).map(({ type: _, ...item }) => item);
    this.#progress.clear();
    if (items.length > 0) link.notify('progress', { items });
    for (const { type: _, ...preview } of this.#previews.values()) link.notify('preview', preview);
    this.#previews.clear();
    while (this.#incidents[0] !== undefined && link.notify('incident', this.#incidents[0]))
      this.#incidents.shift();
    // The socket did not take all of it: what must arrive on this link is tried again.
    if (this.#full || this.#changed.size > 0 || this.#incidents.length > 0) this.#gather();
  }

  #flushResidency(): void {
    const { link } = this.#options;
    if (this.#full) {
      const present = [...this.#residency.values()].filter((entry) => entry.state !== 'gone');
      const first = present.slice(0, residencyLimit);
      if (!link.notify('residency', { full: true, entries: first })) return;
      this.#full = false;
      // With this the hub knows of these alone: the others follow as news, what is gone needs no word.
      this.#forgetGone(this.#residency.keys());
      this.#changed.clear();
      for (const { modelId } of present.slice(residencyLimit)) this.#changed.add(modelId);
    }
    while (this.#changed.size > 0) {
      const ids = [...this.#changed].slice(0, residencyLimit);
      const entries = ids.flatMap((id) => this.#residency.get(id) ?? []);
      if (!link.notify('residency', { full: false, entries })) return;
      for (const id of ids) this.#changed.delete(id);
      this.#forgetGone(ids);
    }
  }

  #forgetGone(ids: Iterable<string>): void {
    for (const id of ids) if (this.#residency.get(id)?.state === 'gone') this.#residency.delete(id);
  }
}

/** The actor that reports. It is a callback, not a chart: it has no states that anyone could ask about. */
export function reporterActors(options: ReporterOptions) {
  return {
    reporter: fromCallback<ReporterEvent, undefined>(({ receive }) => {
      const reporter = new Reporter(options);
      receive((event) => reporter.take(event));
      return () => reporter.stop();
    }),
  };
}
