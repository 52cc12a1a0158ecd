import { imageSpec } from '#actors/connectors/image/image-spec.ts';
import { simulationSpec } from '#actors/connectors/simulation/simulation-spec.ts';
import { upscaleSpec } from '#actors/connectors/upscale/upscale-spec.ts';
import type { ServiceSpec } from '#protocol/connector.ts';

/** Services whose payloads this hub can judge. A submission for another service is taken as it is. */
export const builtInServices: readonly ServiceSpec[] = [imageSpec, simulationSpec, upscaleSpec];
