/* SPDX-License-Identifier: MIT */
/* What a hot-plug slot does next: pure logic, without registers or time.
 *
 *     OFF      the slot has no power; a card may lie in it
 *     ON       its card is in use
 *     CLOSING  ON, and the button was pressed: the indicator blinks, and until the time is over the button
 * can be pressed again
 *
 *     OFF -> ON        ADD      a card came, or the button was pressed at one that was left off
 *     ON -> CLOSING    BLINK    button
 *     CLOSING -> ON    KEEP     button
 *     CLOSING -> OFF   EJECT    the time is over
 *     ON, CLOSING -> OFF  EJECT    asked for from here;  DROP: the card went, or was exchanged, by itself */
#ifndef DRIVERS_PCI_PCI_SLOT_H
#define DRIVERS_PCI_PCI_SLOT_H

#include <kernel/base/types.h>

enum pci_slot_state { PCI_SLOT_OFF, PCI_SLOT_ON, PCI_SLOT_CLOSING };

enum pci_slot_event {
    PCI_SLOT_BUTTON = 1,   /* attention button */
    PCI_SLOT_PRESENCE = 2, /* a card came or went */
    PCI_SLOT_LINK = 4,     /* the link came up or went down */
    PCI_SLOT_TIMEOUT = 8,  /* of CLOSING */
    PCI_SLOT_REQUEST = 16, /* eject, by a user of this machine */
};

enum pci_slot_action {
    PCI_SLOT_REST,
    PCI_SLOT_ADD,
    PCI_SLOT_BLINK,
    PCI_SLOT_KEEP,
    PCI_SLOT_EJECT,
    PCI_SLOT_DROP,
};

/* The next thing to do; takes from `*events` what is dealt with by it. Called until it answers REST, with the
 * state changed in between as told above. After a DROP the exchanged card is still to be added. */
enum pci_slot_action pci_slot_next(enum pci_slot_state state, uint32_t *events, bool is_occupied);

#endif
