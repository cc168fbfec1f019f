import type { Model } from '@pare/core';
export function toQOperator(_model: Model): string[] {
  return [];
}
