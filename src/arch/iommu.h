/* SPDX-License-Identifier: MIT */
/* IOMMUs (Intel VT-d): not used. Devices see physical addresses, and interrupts are not remapped. */
#ifndef ARCH_IOMMU_H
#define ARCH_IOMMU_H

/* Makes that true of each unit that ACPI names, should firmware have left it otherwise, and logs it. After
 * acpi_init, before the first interrupt is routed and the first device is driven. */
void iommu_init(void);

#endif
