/* SPDX-License-Identifier: MIT */
/* A slot's decisions: every state, all sets of events, with a card and without. */
#include <drivers/pci/pci_slot.h>
#include <kernel/base/types.h>

#include "check.h"

#define ALL_EVENTS 31u

static enum pci_slot_action next(enum pci_slot_state state, uint32_t events, bool is_occupied)
{
    return pci_slot_next(state, &events, is_occupied);
}

static enum pci_slot_state after(enum pci_slot_state state, enum pci_slot_action action)
{
    static const enum pci_slot_state states[] = {[PCI_SLOT_ADD] = PCI_SLOT_ON,
                                                 [PCI_SLOT_BLINK] = PCI_SLOT_CLOSING,
                                                 [PCI_SLOT_KEEP] = PCI_SLOT_ON,
                                                 [PCI_SLOT_EJECT] = PCI_SLOT_OFF,
                                                 [PCI_SLOT_DROP] = PCI_SLOT_OFF};
    return action == PCI_SLOT_REST ? state : states[action];
}

static void test_one_event(void)
{
    check_equal(next(PCI_SLOT_OFF, PCI_SLOT_PRESENCE, true), PCI_SLOT_ADD);
    check_equal(next(PCI_SLOT_OFF, PCI_SLOT_PRESENCE, false), PCI_SLOT_REST);
    check_equal(next(PCI_SLOT_OFF, PCI_SLOT_BUTTON, true), PCI_SLOT_ADD);
    check_equal(next(PCI_SLOT_OFF, PCI_SLOT_LINK, true), PCI_SLOT_REST); /* our own power off */
    check_equal(next(PCI_SLOT_OFF, PCI_SLOT_REQUEST, true), PCI_SLOT_REST);
    check_equal(next(PCI_SLOT_ON, PCI_SLOT_BUTTON, true), PCI_SLOT_BLINK);
    check_equal(next(PCI_SLOT_ON, PCI_SLOT_TIMEOUT, true), PCI_SLOT_REST);
    check_equal(next(PCI_SLOT_ON, PCI_SLOT_REQUEST, true), PCI_SLOT_EJECT);
    check_equal(next(PCI_SLOT_ON, PCI_SLOT_PRESENCE, false), PCI_SLOT_DROP);
    check_equal(next(PCI_SLOT_ON, PCI_SLOT_LINK, true), PCI_SLOT_DROP);
    check_equal(next(PCI_SLOT_CLOSING, PCI_SLOT_BUTTON, true), PCI_SLOT_KEEP);
    check_equal(next(PCI_SLOT_CLOSING, PCI_SLOT_TIMEOUT, true), PCI_SLOT_EJECT);
    check_equal(next(PCI_SLOT_CLOSING, PCI_SLOT_REQUEST, true), PCI_SLOT_EJECT);
    check_equal(next(PCI_SLOT_CLOSING, PCI_SLOT_PRESENCE, false), PCI_SLOT_DROP);
}

/* The button pressed as the time is over keeps the card; QEMU presses it when it plugs one in. */
static void test_at_once(void)
{
    check_equal(next(PCI_SLOT_CLOSING, PCI_SLOT_BUTTON | PCI_SLOT_TIMEOUT, true), PCI_SLOT_KEEP);
    check_equal(next(PCI_SLOT_OFF, PCI_SLOT_BUTTON | PCI_SLOT_PRESENCE, true), PCI_SLOT_ADD);
    check_equal(next(PCI_SLOT_ON, PCI_SLOT_REQUEST | PCI_SLOT_BUTTON, true), PCI_SLOT_EJECT);
}

/* A card that was exchanged is dropped, then the new one is added. */
static void test_exchanged(void)
{
    uint32_t events = PCI_SLOT_PRESENCE | PCI_SLOT_LINK | PCI_SLOT_BUTTON;
    check_equal(pci_slot_next(PCI_SLOT_ON, &events, true), PCI_SLOT_DROP);
    check_equal(pci_slot_next(PCI_SLOT_OFF, &events, true), PCI_SLOT_ADD);
    check_equal(pci_slot_next(PCI_SLOT_ON, &events, true), PCI_SLOT_REST);
}

/* Whatever happened, it comes to rest soon, with a card in use only if there is one, and never in use after
 * it went. */
static void test_everything(void)
{
    for (uint32_t state = PCI_SLOT_OFF; state <= PCI_SLOT_CLOSING; state++)
        for (uint32_t all = 0; all <= ALL_EVENTS; all++)
            for (int is_occupied = 0; is_occupied < 2; is_occupied++) {
                enum pci_slot_state at = state;
                enum pci_slot_action action;
                uint32_t events = all, steps = 0;
                while ((action = pci_slot_next(at, &events, is_occupied)) != PCI_SLOT_REST) {
                    check(action != PCI_SLOT_ADD || (is_occupied && at == PCI_SLOT_OFF));
                    check(action == PCI_SLOT_ADD || at != PCI_SLOT_OFF);
                    at = after(at, action);
                    check(++steps <= 2);
                }
                check_equal(events, 0);
                if (all & PCI_SLOT_PRESENCE)
                    check_equal(at, is_occupied ? PCI_SLOT_ON : PCI_SLOT_OFF);
            }
}

int main(void)
{
    test_one_event();
    test_at_once();
    test_exchanged();
    test_everything();
    return check_finish();
}
