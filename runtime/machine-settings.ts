import type { ReporterSettings } from '#actors/reporter.ts';
import type { ClaimerSettings } from '#machines/claimer.ts';
import type { ConnectorSettings } from '#machines/connector.ts';
import type { GpuSettings } from '#machines/gpu.ts';
import type { JobRunSettings } from '#machines/job-run-base.ts';
import type { LeaseSettings } from '#machines/lease.ts';
import type { LinkSettings } from '#machines/link.ts';
import type { CacheSettings } from '#machines/model-cache.ts';
import type { StagingSettings } from '#machines/runs.ts';
import type { SuperviseInput } from '#machines/supervise.ts';
import type { SupervisorSettings } from '#machines/supervisor.ts';

/**
 * Times and limits of a machine that nobody needs to set; simulations and tests may. Beats and the TTL
 * of leases come from the hub with the welcome.
 */
export interface MachineSettings {
  link: LinkSettings;
  lease: LeaseSettings;
  claimer: ClaimerSettings;
  jobRun: JobRunSettings;
  gpu: GpuSettings;
  connector: ConnectorSettings;
  cache: Omit<CacheSettings, 'budgetBytes'>;
  reporter: ReporterSettings;
  supervisor: SupervisorSettings;
  /** How actors that fail are restarted, at every level of the tree. */
  supervise: Pick<SuperviseInput, 'intensity' | 'periodMs' | 'backoff'>;
  staging: StagingSettings;
  /** Limit for answers of the hub to requests of runs, ms. */
  requestMs: number;
  /** Uploads, input downloads and model downloads at once. */
  uploads: number;
  inputs: number;
  modelFetches: number;
  bootMs: number;
  /** For a service to stop when the machine ends, ms. */
  stopMs: number;
}

const MiB = 1_048_576;

export const machineSettings: MachineSettings = {
  // Full jitter below 0.5 s at first: the lease of a cut machine is shortened to 20 s at worst.
  link: { reconnect: { baseMs: 500, limitMs: 30_000 }, dialMs: 10_000, stableMs: 10_000 },
  // Time to abort what runs before the hub hands it to others; a sixth of the usual TTL.
  lease: { fenceMarginMs: 5_000 },
  claimer: { deadlineMs: 10_000, retry: { baseMs: 1_000, limitMs: 15_000 } },
  jobRun: { stallMs: 120_000, stopMs: 10_000, repeatMs: 2_000, rideMs: 1_000 },
  gpu: { readEveryMs: 30_000, retryEveryMs: 5_000, lostAfter: 3, reserveMb: 512 },
  connector: {
    startMs: 120_000,
    probeMs: 10_000,
    probeEveryMs: 15_000,
    probesLimit: 3,
    restart: { baseMs: 1_000, limitMs: 60_000 },
    restartsLimit: 5,
    stableMs: 300_000,
  },
  cache: {
    fetch: { rounds: 3, retry: { baseMs: 2_000, limitMs: 30_000 } },
    reserveBytes: 256 * MiB,
    remeasureMs: 60_000,
    motionsLimit: 32,
  },
  reporter: { gatherMs: 100, bufferLimitBytes: MiB },
  supervisor: { releaseMs: 10_000, leaveMs: 3_000 },
  supervise: { intensity: 5, periodMs: 60_000, backoff: { baseMs: 200, limitMs: 10_000 } },
  staging: { leadMs: 300, waitMs: 30_000 },
  requestMs: 15_000,
  uploads: 4,
  inputs: 8,
  modelFetches: 3,
  bootMs: 30_000,
  stopMs: 10_000,
};
