/* SPDX-License-Identifier: MIT */
/* See pci_slot.h. What several events at once mean is decided by their order here: a card that went by itself
 * takes back every wish about it. */
#include <drivers/pci/pci_slot.h>

static enum pci_slot_action next_when_off(uint32_t *events, bool is_occupied)
{
    bool is_wanted = (*events & (PCI_SLOT_PRESENCE | PCI_SLOT_BUTTON)) != 0;
    *events = 0;
    return is_wanted && is_occupied ? PCI_SLOT_ADD : PCI_SLOT_REST;
}

static enum pci_slot_action next_when_on(bool is_closing, uint32_t *events)
{
    uint32_t seen = *events;
    *events = 0;
    if (seen & (PCI_SLOT_PRESENCE | PCI_SLOT_LINK)) {
        *events = PCI_SLOT_PRESENCE;
        return PCI_SLOT_DROP;
    }
    if (seen & PCI_SLOT_REQUEST)
        return PCI_SLOT_EJECT;
    if (seen & PCI_SLOT_BUTTON)
        return is_closing ? PCI_SLOT_KEEP : PCI_SLOT_BLINK;
    return seen & PCI_SLOT_TIMEOUT && is_closing ? PCI_SLOT_EJECT : PCI_SLOT_REST;
}

enum pci_slot_action pci_slot_next(enum pci_slot_state state, uint32_t *events, bool is_occupied)
{
    if (state == PCI_SLOT_OFF)
        return next_when_off(events, is_occupied);
    return next_when_on(state == PCI_SLOT_CLOSING, events);
}
